package api

import (
	"context"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/lanyard-project/lanyard/webspace"
)

// socket is a websocket with a session on it. Memory is bounded on both sides: output is written as it comes, and what
// the client does not take holds the process up; input that the process does not take holds the client up.
type socket struct {
	conn   *websocket.Conn
	stall  time.Duration
	input  *input
	cancel context.CancelFunc
	reader sync.WaitGroup

	writing, reading context.Context // of messages to the client, and from it

	mu   sync.Mutex
	left bool
}

// Write sends one message.
func (c *socket) Write(b []byte) (int, error) { return c.send(b) }

func (c *socket) send(b []byte) (int, error) {
	ctx, cancel := context.WithTimeout(c.writing, c.stall)
	defer cancel()
	if err := c.conn.Write(ctx, websocket.MessageBinary, b); err != nil {
		c.leave()
		return 0, err
	}
	return len(b), nil
}

// leave notes that the client is gone, and ends the session.
func (c *socket) leave() {
	c.mu.Lock()
	c.left = true
	c.mu.Unlock()
	c.cancel()
}

func (c *socket) gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left
}

// receive takes what the client sends until ctx or the connection ends: bytes for the process, and controls. The
// context that it gives ends when the client goes.
func (c *socket) receive(ctx context.Context, parse func([]byte) (webspace.Control, bool, error)) (context.Context, <-chan webspace.Control) {
	controls := make(chan webspace.Control, 16)
	c.reader.Go(func() {
		defer c.input.end()
		for {
			kind, b, err := c.conn.Read(c.reading)
			if err != nil {
				c.leave()
				return
			}
			if kind == websocket.MessageBinary {
				if c.input.put(ctx, b) != nil {
					return
				}
				continue
			}
			control, eof, err := parse(b)
			if err != nil { // a mistake of the client, not a reason to lose the session
				continue
			}
			if eof {
				c.input.end()
			}
			if control == (webspace.Control{}) {
				continue
			}
			select {
			case controls <- control:
			case <-ctx.Done():
				return
			}
		}
	})
	return ctx, controls
}

// tagged puts the number of a stream before each message.
type tagged struct {
	*socket
	stream byte
}

func (t tagged) Write(b []byte) (int, error) {
	if _, err := t.send(append([]byte{t.stream}, b...)); err != nil {
		return 0, err
	}
	return len(b), nil
}
