package packettest

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace of its own, and the thread that lives in it. Devices that programs look up by
// index, and routes that they ask for, are those of the thread that calls bpf(2), so everything goes through Do.
type Namespace struct {
	calls chan func()
	done  chan struct{}
}

// NewNamespace makes an empty namespace. It goes away, with its devices, at Close.
func NewNamespace() (*Namespace, error) {
	ns := &Namespace{calls: make(chan func()), done: make(chan struct{})}
	ready := make(chan error)
	go func() {
		defer close(ns.done)
		// Never unlocked: the runtime ends a thread whose goroutine returns locked, and its namespace with it.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- fmt.Errorf("new network namespace: %w: this needs CAP_SYS_ADMIN; run the tests as root", err)
			return
		}
		ready <- nil
		for f := range ns.calls {
			f()
		}
	}()
	if err := <-ready; err != nil {
		return nil, err
	}
	return ns, nil
}

// Do runs f in the namespace and waits for it. f must not call Do.
func (ns *Namespace) Do(f func() error) error {
	result := make(chan error, 1)
	ns.calls <- func() { result <- f() }
	return <-result
}

// Close ends the thread. Nothing may call Do any more.
func (ns *Namespace) Close() {
	close(ns.calls)
	<-ns.done
}
