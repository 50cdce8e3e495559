package webspace

import (
	"context"
	"sync"
)

// keyed is one lock per name. A name costs memory only while somebody holds or awaits its lock.
type keyed struct {
	mu sync.Mutex
	m  map[string]*keyedLock
}

type keyedLock struct {
	held  chan struct{} // of capacity 1: full while held
	users int
}

// lock waits for the lock of a name, or for the end of ctx.
func (k *keyed) lock(ctx context.Context, name string) (unlock func(), err error) {
	k.mu.Lock()
	if k.m == nil {
		k.m = make(map[string]*keyedLock)
	}
	l := k.m[name]
	if l == nil {
		l = &keyedLock{held: make(chan struct{}, 1)}
		k.m[name] = l
	}
	l.users++
	k.mu.Unlock()
	select {
	case l.held <- struct{}{}:
		return func() { <-l.held; k.leave(name, l) }, nil
	case <-ctx.Done():
		k.leave(name, l)
		return nil, &Problem{What: "could not begin with " + name, Cause: "somebody else has been working on it all the time", Next: "try again", Kind: ErrConflict, Err: ctx.Err()}
	}
}

// busy says that somebody holds or awaits the lock of a name.
func (k *keyed) busy(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.m[name] != nil
}

func (k *keyed) leave(name string, l *keyedLock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(k.m, name)
	}
}

// flights lets many callers wait for one and the same piece of work.
type flights struct {
	mu sync.Mutex
	m  map[int]*flight
}

type flight struct {
	done chan struct{}
	err  error
}

// do begins work unless it is under way for this key, and waits for its end or that of ctx. The work goes on when ctx
// has ended, because others may wait for it as well: it must be bounded by itself.
func (f *flights) do(ctx context.Context, key int, work func(context.Context) error) error {
	f.mu.Lock()
	if f.m == nil {
		f.m = make(map[int]*flight)
	}
	w := f.m[key]
	if w == nil {
		w = &flight{done: make(chan struct{})}
		f.m[key] = w
		go func() {
			err := work(context.WithoutCancel(ctx))
			f.mu.Lock()
			w.err = err
			delete(f.m, key)
			f.mu.Unlock()
			close(w.done)
		}()
	}
	f.mu.Unlock()
	return w.wait(ctx)
}

// join waits for work that is under way; ok is false when there is none.
func (f *flights) join(ctx context.Context, key int) (ok bool, err error) {
	f.mu.Lock()
	w := f.m[key]
	f.mu.Unlock()
	if w == nil {
		return false, nil
	}
	return true, w.wait(ctx)
}

func (w *flight) wait(ctx context.Context) error {
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
