package member

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/cli"
)

// remoteInfo is what is known about a path in the webspace.
type remoteInfo struct {
	exists, directory bool
	mode              string
}

// stat looks at a path in the webspace, through a symlink at its end. Of a file only the head is read.
func (k *copier) stat(ctx context.Context, p string) (remoteInfo, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // gives up the rest
	resp, err := k.client.ReadFile(ctx, k.app.target(), &wire.ReadFileParams{Path: p})
	if err != nil {
		return remoteInfo{}, unreachable(err)
	}
	if resp.StatusCode == http.StatusNotFound {
		err := answer(resp, nil, nil)
		// A webspace that does not exist is an error, a file is not.
		check, e := k.client.Get(ctx, k.app.target())
		if e := answer(check, e, nil); e != nil {
			return remoteInfo{}, err
		}
		return remoteInfo{}, nil
	}
	if resp.StatusCode != http.StatusOK {
		return remoteInfo{}, answer(resp, nil, nil)
	}
	resp.Body.Close()
	return remoteInfo{exists: true, directory: resp.Header.Get("X-Lanyard-Type") == string(wire.TypeDirectory), mode: resp.Header.Get("X-Lanyard-Mode")}, nil
}

func (k *copier) list(ctx context.Context, p string) (list []wire.FileEntry, err error) {
	resp, err := k.client.ReadFile(ctx, k.app.target(), &wire.ReadFileParams{Path: p})
	err = answer(resp, err, &list)
	return list, err
}

// readlink gives where a symlink in the webspace leads.
func (k *copier) readlink(ctx context.Context, p string) (target string, err error) {
	no := false
	resp, err := k.client.ReadFile(ctx, k.app.target(), &wire.ReadFileParams{Path: p, Follow: &no})
	if err == nil && resp.StatusCode == http.StatusOK && resp.Header.Get("X-Lanyard-Type") != string(wire.TypeSymlink) {
		resp.Body.Close()
		return "", &cli.Error{Code: "file", What: "cannot copy :" + p, Cause: "it was replaced meanwhile", Next: "try again"}
	}
	err = answer(resp, err, &target)
	return target, err
}

// octal are the permissions of a local file, for the webspace.
func octal(m fs.FileMode) *string {
	bits := uint64(m.Perm())
	for flag, bit := range map[fs.FileMode]uint64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	s := fmt.Sprintf("%04o", bits)
	return &s
}

// permissions are what a webspace says, without setuid and setgid: its root is not ours.
func permissions(s string, orElse fs.FileMode) fs.FileMode {
	bits, err := strconv.ParseUint(s, 8, 12)
	if err != nil {
		return orElse
	}
	return fs.FileMode(bits & 0o777)
}

func (k *copier) write(ctx context.Context, to string, kind wire.FileType, mode *string, body io.Reader) error {
	resp, err := k.client.WriteFileWithBody(ctx, k.app.target(), &wire.WriteFileParams{Path: to, Type: &kind, Mode: mode}, "application/octet-stream", body)
	return answer(resp, err, nil)
}

func (k *copier) mkdir(ctx context.Context, to string, mode fs.FileMode) error {
	return k.write(ctx, to, wire.TypeDirectory, octal(mode), strings.NewReader(""))
}

func (k *copier) symlink(ctx context.Context, to, target string) error {
	return k.write(ctx, to, wire.TypeSymlink, nil, strings.NewReader(target))
}

// put copies a file to the webspace.
func (k *copier) put(ctx context.Context, from, to string, info fs.FileInfo) error {
	f, err := os.Open(from)
	if err != nil {
		return localError("cannot read "+from, err)
	}
	defer f.Close()
	if err := k.write(ctx, to, wire.TypeFile, octal(info.Mode()), &counted{Reader: f, k: k, what: path.Base(to), total: info.Size()}); err != nil {
		return err
	}
	k.files++
	return nil
}

// counted shows how far a file is.
type counted struct {
	io.Reader
	k     *copier
	what  string
	sent  int64
	total int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.sent += int64(n)
	c.k.done.Add(int64(n))
	c.k.progress.Bar(c.what, c.sent, c.total)
	return n, err
}
