package wakes

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/bpf"
)

// stamp is a moment of CLOCK_MONOTONIC, which programs in the kernel read too.
type stamp time.Duration

func now() stamp {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // fails only for a clock that does not exist
	return stamp(t.Nano())
}

// since gives how long after an earlier moment this one is; negative when it is before.
func (s stamp) since(earlier stamp) time.Duration { return time.Duration(s - earlier) }

// listens are the stamps of every listen() on this machine, made by the kernel itself.
type listens struct {
	prog   *ebpf.Collection
	link   link.Link
	reader *ringbuf.Reader
	done   chan struct{}

	mu  sync.Mutex
	all map[listener][]stamp
}

type listener struct {
	netns uint32
	port  uint16
}

func openListens() (*listens, error) {
	spec, err := bpf.LoadListens()
	if err != nil {
		return nil, err
	}
	l := &listens{done: make(chan struct{}), all: make(map[listener][]stamp)}
	if l.prog, err = ebpf.NewCollection(spec); err != nil {
		return nil, fmt.Errorf("stamp listen(): %w; likely cause: not root; next: run it as root", err)
	}
	if l.link, err = link.AttachTracing(link.TracingOptions{Program: l.prog.Programs[bpf.ListensProgStampListen]}); err == nil {
		l.reader, err = ringbuf.NewReader(l.prog.Maps[bpf.ListensMapListens])
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stamp listen(): %w", err), l.release())
	}
	go l.read()
	return l, nil
}

// read ends with close.
func (l *listens) read() {
	defer close(l.done)
	for {
		r, err := l.reader.Read()
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		var x bpf.ListensListen
		if binary.Read(bytes.NewReader(r.RawSample), binary.NativeEndian, &x) != nil {
			continue
		}
		at := listener{x.Netns, x.Port}
		l.mu.Lock()
		l.all[at] = append(l.all[at], stamp(x.Time))
		l.mu.Unlock()
	}
}

// take gives the stamp of the first listen() on a port in a network namespace since then, and forgets those before and after it:
// numbers of namespaces are used again, and some servers listen once more after each connection.
func (l *listens) take(netns uint32, port uint16, since stamp) (stamp, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := listener{netns, port}
	list := l.all[at]
	delete(l.all, at)
	for _, s := range list {
		if s > since {
			return s, true
		}
	}
	return 0, false
}

func (l *listens) close() error {
	err := l.reader.Close()
	<-l.done
	return errors.Join(err, l.release())
}

func (l *listens) release() error {
	var err error
	if l.link != nil {
		err = l.link.Close()
	}
	l.prog.Close()
	return err
}
