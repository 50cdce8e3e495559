package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// firstFD is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstFD = 3

// inheritMost bounds how many descriptors are looked at.
const inheritMost = 64

// Store keeps open sockets across restarts of the daemon: the service manager holds a copy of each and gives it to the
// next daemon (sd_notify(3), FDSTORE=1; the unit needs FileDescriptorStoreMax). What arrives meanwhile waits in the
// socket. Without a manager nothing is kept, and nothing fails.
type Store struct {
	mu   sync.Mutex
	held map[string]*os.File
	used map[string]bool // taken, or kept by this process
}

// Inherit takes what the manager gave to this process. It may be called once; children will not see it.
func Inherit() *Store {
	s := &Store{held: make(map[string]*os.File), used: make(map[string]bool)}
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	n, err := strconv.Atoi(count)
	if pid != strconv.Itoa(os.Getpid()) || err != nil || n < 1 || n > inheritMost {
		return s
	}
	for i := range n {
		fd := firstFD + i
		unix.CloseOnExec(fd)
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			continue // named, but not there
		}
		name := ""
		if i < len(names) {
			name = names[i]
		}
		f := os.NewFile(uintptr(fd), name)
		if s.held[name] != nil || name == "" {
			f.Close()
			continue
		}
		s.held[name] = f
	}
	return s
}

// Take gives a copy of what is kept under a name, or nil. It is the caller's.
func (s *Store) Take(name string) *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.held[name]
	if f == nil {
		return nil
	}
	s.used[name] = true
	c, err := duplicate(f)
	if err != nil {
		return nil // out of descriptors: as if it had not been kept
	}
	return c
}

// Keep has the manager hold a copy of f for the next daemon, in the place of an older one of that name; Take gives it too.
// f stays the caller's. Without a manager that listens it does nothing.
func (s *Store) Keep(name string, f *os.File) error {
	if name == "" || strings.ContainsAny(name, ":\n") {
		return fmt.Errorf("%q cannot name a socket that is kept", name)
	}
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	c, err := duplicate(f)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// What the manager holds cannot be bound again: a part that is started again in this process needs it as well.
	if old := s.held[name]; old != nil {
		old.Close()
	}
	s.held[name], s.used[name] = c, true
	if err := Notify("FDSTOREREMOVE=1\nFDNAME=" + name); err != nil {
		return err
	}
	return withFD(c, func(fd int) error {
		// FDPOLL=0: it is kept even when it reports an error, as a socket may for a moment.
		return notify("FDSTORE=1\nFDNAME="+name+"\nFDPOLL=0", unix.UnixRights(fd))
	})
}

// Close gives up what nobody took, here and at the manager: a socket of a setting that has changed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for name, f := range s.held {
		if !s.used[name] {
			errs = append(errs, f.Close(), Notify("FDSTOREREMOVE=1\nFDNAME="+name))
			delete(s.held, name)
		}
	}
	return errors.Join(errs...)
}

// duplicate copies a file. Fd is not called: it would make a socket blocking, for all who share it.
func duplicate(f *os.File) (*os.File, error) {
	copied := -1
	err := withFD(f, func(fd int) (err error) {
		copied, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("copy a descriptor: %w", err)
	}
	return os.NewFile(uintptr(copied), f.Name()), nil
}

func withFD(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) { err = do(int(fd)) }); e != nil {
		return e
	}
	return err
}

// notify sends a state, with descriptors beside it.
func notify(state string, rights []byte) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	if name[0] == '@' { // the abstract namespace
		name = "\x00" + name[1:]
	}
	c, err := net.DialTimeout("unixgram", name, time.Second)
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	wait := raw.Write(func(fd uintptr) bool {
		err = unix.Sendmsg(int(fd), []byte(state), rights, nil, unix.MSG_NOSIGNAL)
		return !errors.Is(err, unix.EAGAIN)
	})
	if err := errors.Join(wait, err); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
