package webspace

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lxc/incus/shared/api"
)

// detachTime is how long LXD may take to let go of a console.
const detachTime = 10 * time.Second

// Console connects streams to the console of a running webspace until ctx ends, Stdin ends, or the webspace stops.
func (s *Store) Console(ctx context.Context, name string, width, height int, io Streams) error {
	defer closeInput(io.Stdin)
	what := "attach to the console of webspace " + name
	path, err := s.path(name)
	if err != nil {
		return err
	}
	// LXD 5.0 lets a second one in, and shows it nothing.
	busy, err := s.operations(ctx, userAgent)
	if err != nil {
		return err
	}
	for _, op := range busy {
		if op.Instance == name && op.What == "Showing console" {
			return inUse(name)
		}
	}
	op, sockets, err := s.open(ctx, what, path+"/console", api.InstanceConsolePost{Type: "console", Width: width, Height: height}, "control", "0")
	if err != nil {
		return err
	}
	control, tty := sockets["control"], sockets["0"]
	var all sync.WaitGroup
	over, output, input := make(chan struct{}), make(chan error, 1), make(chan struct{})
	ended := make(chan error, 1)
	waiting, stop := context.WithCancel(context.WithoutCancel(ctx))
	all.Go(control.drain)
	all.Go(func() { control.controls(io.Control, over) })
	all.Go(func() {
		err := tty.copyTo(orDiscard(io.Stdout))
		if output <- err; err != nil {
			tty.drain()
		}
	})
	all.Go(func() {
		if io.Stdin == nil {
			return
		}
		defer close(input)
		buf := make([]byte, 4<<10)
		for {
			n, err := io.Stdin.Read(buf)
			if n > 0 && tty.write(binaryFrame, buf[:n], writeTime) != nil {
				return
			}
			if err != nil {
				return
			}
		}
	})
	all.Go(func() { ended <- s.await(waiting, what, op) })

	var done bool
	select {
	case err = <-ended:
		done = true
	case err = <-output: // LXD ends it, or the client has gone
	case <-input:
	case <-ctx.Done():
	}
	if !done {
		// LXD lets go when the control connection ends; until it has, output is taken, because LXD 5.0 crashes when it
		// must write to a connection that it closes.
		control.close()
		select {
		case <-ended:
		case <-time.After(detachTime):
		}
	}
	stop()
	close(over)
	control.close()
	tty.close()
	closeInput(io.Stdin)
	all.Wait()
	if errors.Is(err, ErrNotFound) { // the operation is forgotten: it has ended
		err = nil
	}
	return err
}

func inUse(name string) error {
	return &Problem{What: "could not attach to the console of webspace " + name, Cause: "somebody is attached to it", Next: "wait until they detach", Kind: ErrNoConsole}
}

// sessions are the consoles that are attached through this process, so that they can be detached before a stop.
type sessions struct {
	mu   sync.Mutex
	open map[int]*attached
}

type attached struct {
	detach context.CancelFunc
	gone   chan struct{}
}

// add notes that a console is attached to; ok is false when one already is.
func (s *sessions) add(uid int, detach context.CancelFunc) (remove func(), ok bool) {
	a := &attached{detach, make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[uid] != nil {
		return nil, false
	}
	if s.open == nil {
		s.open = make(map[int]*attached)
	}
	s.open[uid] = a
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, uid)
		close(a.gone)
	}, true
}

// end detaches the console of a webspace, and waits until it is.
func (s *sessions) end(ctx context.Context, uid int) {
	s.mu.Lock()
	a := s.open[uid]
	s.mu.Unlock()
	if a == nil {
		return
	}
	a.detach()
	select {
	case <-a.gone:
	case <-ctx.Done():
	}
}
