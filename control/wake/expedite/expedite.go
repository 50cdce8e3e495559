// Package expedite has the kernel end its RCU grace periods at once for a while.
//
// Making and removing network interfaces, namespaces, mounts and packet sockets waits for such a period, each time: some 13 ms
// on an idle machine (synchronize_rcu), under a millisecond when it is expedited, for which the kernel interrupts the other
// processors. The start of a container and the DHCP client in it spend a quarter of their time so. The kernel boots that way
// itself; Documentation/RCU of Linux has rcu_expedited.
package expedite

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/webspace"
)

// File is the kernel's switch.
const File = "/sys/kernel/rcu_expedited"

// Switch turns it on while anybody is in a hurry. Where it is on already, that is left as it is.
type Switch struct {
	file string
	mark string // a file that is there while we have it on
	log  *slog.Logger

	mu      sync.Mutex
	hurries int
	ours    bool // we have turned it on
	problem error
}

// New makes a Switch, and turns off what one that was killed has left on, which the file mark tells. Of several on one machine
// each needs a mark of its own.
func New(mark string, log *slog.Logger) *Switch { return open(File, mark, log) }

func open(file, mark string, log *slog.Logger) *Switch {
	s := &Switch{file: file, mark: mark, log: log}
	if _, err := os.Stat(mark); err == nil {
		s.ours = true
	}
	s.off()
	if _, err := os.Stat(file); err != nil {
		s.failed(err)
	}
	return s
}

// Hurry turns it on until release is called, for at most limit. release may be called again.
func (s *Switch) Hurry(limit time.Duration) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hurries++; s.hurries == 1 {
		s.on()
	}
	done := sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.hurries--; s.hurries == 0 {
			s.off()
		}
	})
	t := time.AfterFunc(limit, done)
	return func() { t.Stop(); done() }
}

// on is called with mu held.
func (s *Switch) on() {
	now, err := os.ReadFile(s.file)
	if err != nil {
		s.failed(err)
		return
	}
	if !bytes.Equal(bytes.TrimSpace(now), []byte("0")) {
		return // somebody else's
	}
	if err := os.WriteFile(s.mark, nil, 0o600); err != nil { // before, so that no kill comes between
		s.failed(err)
		return
	}
	s.ours = true
	if err := s.write("1"); err != nil {
		s.failed(err)
		s.off()
		return
	}
	s.problem = nil
}

// off is called with mu held.
func (s *Switch) off() {
	if !s.ours {
		return
	}
	if err := s.write("0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.failed(err)
		return
	}
	s.ours = false
	if err := os.Remove(s.mark); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.failed(err)
	}
}

// write does not make the file: there is one or there is none.
func (s *Switch) write(value string) error {
	f, err := os.OpenFile(s.file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func (s *Switch) failed(err error) {
	err = &webspace.Problem{What: "grace periods are not expedited while webspaces boot", Cause: err.Error(),
		Next: fmt.Sprintf("see that the service may write %s, or turn wake.expedite off", s.file), Kind: webspace.ErrInvalid, Err: err}
	if s.problem == nil || s.problem.Error() != err.Error() {
		s.log.Warn("webspaces boot no sooner", "err", err)
	}
	s.problem = err
}

// Problem is why it could not be turned on or off the last time, or nil.
func (s *Switch) Problem() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problem
}
