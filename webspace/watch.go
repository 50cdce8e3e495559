package webspace

import (
	"context"
	"time"
)

// Watching LXD's events.
const (
	pingEvery   = 10 * time.Second
	silentAfter = 25 * time.Second // without an event or the answer to a ping: the connection is dead
	retryFirst  = 100 * time.Millisecond
	retryMost   = 5 * time.Second

	opPing = 9 // RFC 6455, 5.2
)

// Watch gives a hint whenever something may have changed: an instance anywhere in the cluster, or the connection to
// LXD itself. A hint carries nothing, and one may stand for many: look, then wait for the next. The channel is closed
// when ctx has ended and everything behind it is gone. A lost connection is opened again, sooner or later.
func (s *Store) Watch(ctx context.Context) <-chan struct{} {
	hints := make(chan struct{}, 1)
	go func() {
		defer close(hints)
		wait := retryFirst
		for ctx.Err() == nil {
			began := time.Now()
			s.listen(ctx, hints)
			hint(hints)
			if time.Since(began) > retryMost {
				wait = retryFirst
			}
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			wait = min(2*wait, retryMost)
		}
	}()
	return hints
}

// listen passes on the events of one connection until it breaks or ctx ends.
func (s *Store) listen(ctx context.Context, hints chan<- struct{}) {
	c, err := s.client(ctx, userAgent)
	if err != nil {
		return
	}
	conn, err := c.RawWebsocket("/events?type=lifecycle&project=" + s.o.Project)
	if err != nil || conn == nil {
		return
	}
	done := make(chan struct{})
	pinger := make(chan struct{})
	go func() { // ends with listen, and makes listen end with ctx
		defer close(pinger)
		defer conn.Close()
		tick := time.NewTicker(pingEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-done:
				return
			case <-tick.C:
				if conn.WriteControl(opPing, nil, time.Now().Add(pingEvery)) != nil {
					return
				}
			}
		}
	}()
	defer func() { close(done); <-pinger }()
	alive := func(string) error { return conn.SetReadDeadline(time.Now().Add(silentAfter)) }
	conn.SetPongHandler(alive)
	conn.SetReadLimit(1 << 20)
	hint(hints) // what happened before we listened
	for alive("") == nil {
		if _, _, err := conn.ReadMessage(); err != nil {
			return
		}
		hint(hints)
	}
}

func hint(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}
