package webspace

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/lxc/incus/shared/api"
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
		s.attend(ctx, "lifecycle", func([]byte) { hint(hints) })
	}()
	return hints
}

// How LXD describes that it is starting, stopping or restarting an instance, up to "instance" or "container".
const (
	Starting   = "Starting "
	Stopping   = "Stopping "
	Restarting = "Restarting "
)

// Order is what LXD has begun to do with a webspace.
type Order struct {
	Name string
	What string // Starting, Stopping or Restarting
}

// Orders gives the webspaces that somebody, this process included, has LXD start, stop or restart, as soon as LXD says so. When
// nobody takes them some are lost. The channel is closed as that of Watch is.
func (s *Store) Orders(ctx context.Context) <-chan Order {
	orders := make(chan Order, 64)
	go func() {
		defer close(orders)
		s.attend(ctx, "operation", func(text []byte) {
			for _, o := range s.ordered(text) {
				select {
				case orders <- o:
				default:
				}
			}
		})
	}()
	return orders
}

// ordered reads an event; nil is one of nothing that matters here: a hundred lines of a build's progress, for one.
func (s *Store) ordered(text []byte) []Order {
	var e struct {
		Metadata struct {
			Description string              `json:"description"`
			StatusCode  api.StatusCode      `json:"status_code"`
			Resources   map[string][]string `json:"resources"`
		} `json:"metadata"`
	}
	if len(text) == 0 || json.Unmarshal(text, &e) != nil {
		return nil
	}
	op := e.Metadata
	if op.StatusCode.IsFinal() {
		return nil
	}
	var orders []Order
	for _, what := range []string{Starting, Stopping, Restarting} {
		if strings.HasPrefix(op.Description, what) {
			for _, name := range s.named(op.Resources) {
				orders = append(orders, Order{name, what})
			}
		}
	}
	return orders
}

// attend passes on events of a type until ctx ends. One that is empty stands for what may have been missed.
func (s *Store) attend(ctx context.Context, kind string, tell func([]byte)) {
	wait := retryFirst
	for ctx.Err() == nil {
		began := time.Now()
		s.listen(ctx, kind, tell)
		tell(nil)
		if time.Since(began) > retryMost {
			wait = retryFirst
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMost)
	}
}

// listen passes on the events of one connection until it breaks or ctx ends.
func (s *Store) listen(ctx context.Context, kind string, tell func([]byte)) {
	c, err := s.client(ctx, userAgent)
	if err != nil {
		return
	}
	conn, err := c.RawWebsocket("/events?type=" + kind + "&project=" + s.o.Project)
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
	tell(nil) // what happened before we listened
	for alive("") == nil {
		_, text, err := conn.ReadMessage()
		if err != nil {
			return
		}
		tell(text)
	}
}

func hint(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}
