package main

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"time"
)

// limit is that of LXD's own hook.
const limit = 30 * time.Second

// answerMost bounds what is read of an answer.
const answerMost = 1 << 16

// onStart takes the arguments of lxd callhook, as LXD 5.0.2 gives them: DIRECTORY PROJECT NAME start.
func onStart(args []string, socket string) error {
	if len(args) != 4 || args[3] != "start" || !plain(args[1]) || !plain(args[2]) {
		return errArguments
	}
	if socket == "" {
		socket = args[0] + "/unix.socket"
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	t := syscall.NsecToTimeval(limit.Nanoseconds())
	if err := errors.Join(syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &t),
		syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &t)); err != nil {
		return err
	}
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket}); err != nil {
		return errors.New("LXD cannot be reached at " + socket + ": " + err.Error())
	}
	request := "GET /internal/containers/" + args[2] + "/onstart?project=" + args[1] +
		" HTTP/1.1\r\nHost: lxd\r\nUser-Agent: lanyard-hook\r\nConnection: close\r\n\r\n"
	for b := []byte(request); len(b) > 0; {
		n, err := syscall.Write(fd, b)
		if err != nil && err != syscall.EINTR {
			return err
		}
		b = b[max(n, 0):]
	}
	answer, err := io.ReadAll(io.LimitReader(reader{fd: fd, until: time.Now().Add(limit)}, answerMost))
	if err != nil {
		return errors.New("no answer from LXD: " + err.Error())
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
		_, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
		return errors.New("LXD refuses: " + string(body))
	}
	return nil
}

// plain says whether a name can stand in a URL as it is.
func plain(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return name != "" && name[0] != '.'
}

// reader reads a blocking socket: the answer may take seconds, and nothing else is to be done meanwhile.
type reader struct {
	fd    int
	until time.Time
}

func (r reader) Read(b []byte) (int, error) {
	for {
		n, err := syscall.Read(r.fd, b)
		switch {
		case err == syscall.EINTR && time.Now().Before(r.until):
		case err == syscall.EAGAIN || err == syscall.EINTR:
			return 0, errors.New("it did not come within 30 s")
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}
