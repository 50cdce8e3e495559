package webspace

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/lxc/incus/shared/api"
)

// Frame types and close codes of RFC 6455 that LXD's protocol uses.
const (
	textFrame   = 1
	binaryFrame = 2

	maxFrame  = 1 << 20         // bytes of one frame from LXD; it sends at most 128 KiB
	writeTime = time.Minute     // LXD may be slow to take input: the command may be slow to read it
	controlIn = 5 * time.Second // of what controls a session: nothing may hold that up
)

// socket is one websocket of an LXD operation. One goroutine may read, and any may write.
type socket struct {
	conn conn
	mu   sync.Mutex // of writes
}

// conn is what is used of the library's websocket.
type conn interface {
	NextReader() (int, io.Reader, error)
	WriteMessage(kind int, data []byte) error
	SetWriteDeadline(time.Time) error
	SetReadLimit(int64)
	Close() error
}

// open begins an operation with websockets, and connects those that are named.
func (s *Store) open(ctx context.Context, what, path string, body any, names ...string) (op *api.Operation, sockets map[string]*socket, err error) {
	resp, _, err := s.request(context.WithoutCancel(ctx), userAgent, what, "POST", path, nil, body, "")
	if err != nil {
		return nil, nil, err
	}
	op, err = resp.MetadataAsOperation()
	var fds map[string]string
	if err == nil {
		fds, err = secrets(op)
	}
	if err != nil {
		return nil, nil, &Problem{What: "could not " + what, Cause: "LXD's answer is not such an operation", Next: "compare versions: lxd --version", Err: err}
	}
	sockets = make(map[string]*socket)
	for _, name := range names {
		if err == nil {
			sockets[name], err = s.dial(ctx, op.ID, fds[name])
		}
	}
	if err != nil { // LXD gives up by itself when a connection is missing after 5 s
		for _, k := range sockets {
			k.close()
		}
		err = s.failed(what, err)
		// LXD had begun, and knows nothing of it any more, or has hung up: it was restarted.
		if p := (*Problem)(nil); errors.As(err, &p) && ctx.Err() == nil && (p.Kind == nil || p.Kind == ErrNotFound) {
			p.Kind, p.Cause, p.Next = ErrUnavailable, "LXD has ended it before it was connected", "try again"
		}
		return nil, nil, err
	}
	return op, sockets, nil
}

// secrets of an operation's websockets.
func secrets(op *api.Operation) (map[string]string, error) {
	raw, err := json.Marshal(op.Metadata["fds"])
	if err != nil {
		return nil, err
	}
	var fds map[string]string
	if err := json.Unmarshal(raw, &fds); err != nil || len(fds) == 0 {
		return nil, errors.Join(errors.New("it has no websockets"), err)
	}
	return fds, nil
}

// dial connects one websocket of an operation.
func (s *Store) dial(ctx context.Context, op, secret string) (*socket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := s.client(ctx, userAgent)
	if err != nil {
		return nil, err
	}
	q := url.Values{"secret": {secret}, "project": {s.o.Project}}
	conn, err := c.RawWebsocket("/operations/" + url.PathEscape(op) + "/websocket?" + q.Encode())
	if err != nil {
		return nil, err
	}
	if conn == nil { // the library swallows the reason of some refusals
		return nil, errors.New("LXD refused a websocket")
	}
	conn.SetReadLimit(maxFrame)
	return &socket{conn: conn}, nil
}

// write sends one frame within a time limit.
func (k *socket) write(kind int, data []byte, limit time.Duration) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.conn.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	return k.conn.WriteMessage(kind, data)
}

func (k *socket) close() {
	if k != nil {
		_ = k.conn.Close()
	}
}

// copyTo copies what LXD sends until its end: an empty text frame, or the end of the connection, which LXD drops
// without ceremony. Only an error of the writer is one.
func (k *socket) copyTo(w io.Writer) error {
	buf := make([]byte, 32<<10)
	for {
		kind, r, err := k.conn.NextReader()
		if err != nil || kind == textFrame {
			return nil
		}
		for {
			n, err := r.Read(buf)
			if n > 0 {
				if _, err := w.Write(buf[:n]); err != nil {
					return err
				}
			}
			if err != nil {
				break // the end of the frame, or of the connection, which NextReader says next
			}
		}
	}
}

// copyFrom sends what is read, and then its end.
func (k *socket) copyFrom(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := k.write(binaryFrame, buf[:n], writeTime); err != nil {
				return err
			}
		}
		if err != nil {
			return k.write(textFrame, nil, controlIn)
		}
	}
}

// control tells LXD to change the size of the terminal, or to send a signal.
func (k *socket) control(c Control) error {
	var messages []any
	if c.Width > 0 && c.Height > 0 {
		messages = append(messages, map[string]any{"command": "window-resize",
			"args": map[string]string{"width": strconv.Itoa(c.Width), "height": strconv.Itoa(c.Height)}})
	}
	if c.Signal > 0 {
		messages = append(messages, map[string]any{"command": "signal", "signal": c.Signal})
	}
	for _, m := range messages {
		b, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if err := k.write(textFrame, b, controlIn); err != nil {
			return err
		}
	}
	return nil
}

// controls passes on what comes until the session is over.
func (k *socket) controls(from <-chan Control, over <-chan struct{}) {
	for {
		select {
		case c, ok := <-from:
			if !ok {
				return
			}
			if k.control(c) != nil {
				return
			}
		case <-over:
			return
		}
	}
}

// drain reads until the connection ends, so that LXD's answers to pings and its close are seen.
func (k *socket) drain() {
	for {
		if _, _, err := k.conn.NextReader(); err != nil {
			return
		}
	}
}
