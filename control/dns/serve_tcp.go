package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	idleTCP = 10 * time.Second // between two queries of a connection (RFC 7766, section 6.2.3)
	slowTCP = 5 * time.Second  // for the rest of a message, and for an answer to be taken
	// queueMost bounds the answers, in bytes, that wait for a connection's other side.
	queueMost = 128 << 10
)

// serveTCP accepts connections until ctx ends, and ends them all then.
func (s *Server) serveTCP(ctx context.Context, l *net.TCPListener) error {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		c, err := l.AcceptTCP()
		if ctx.Err() != nil {
			if c != nil {
				c.Close()
			}
			return nil
		}
		var temporary interface{ Temporary() bool }
		if errors.As(err, &temporary) && temporary.Temporary() { // out of descriptors, say
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("accept a connection: %w", err)
		}
		from := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		w, ok := who(0), false
		if from.Is4() {
			w, ok = s.allowed(hostOrder(from))
		}
		switch {
		case !ok:
			s.counts.drop(DropNotLAN)
			c.Close()
		case !s.limits.connect(w):
			s.counts.drop(DropConnects)
			_ = c.SetLinger(0)
			c.Close()
		default:
			all.Go(func() {
				defer s.limits.closed(w)
				s.converse(ctx, c, w)
			})
		}
	}
}

// conversation is one connection. Queries are answered as their answers come (RFC 7766, section 7).
type conversation struct {
	s    *Server
	conn net.Conn
	who  who
	room []byte // for an answer that this node knows: those of the cache are bounded

	mu     sync.Mutex
	queue  [][]byte
	bytes  int
	over   bool // nothing more will be queued
	broken bool
	more   chan struct{}
	open   sync.WaitGroup // questions that wait for upstreams
}

func (s *Server) converse(ctx context.Context, c net.Conn, w who) {
	v := &conversation{s: s, conn: c, who: w, more: make(chan struct{}, 1)}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	written := make(chan struct{})
	go func() { defer close(written); v.write() }()
	v.read()
	v.open.Wait() // who has closed his half still gets his answers
	v.end(false)
	<-written
	c.Close()
}

// read takes queries until the other side ends.
func (v *conversation) read() {
	buf := make([]byte, 0, longestQuery)
	var q query
	for {
		var length [2]byte
		_ = v.conn.SetReadDeadline(time.Now().Add(idleTCP))
		if _, err := io.ReadFull(v.conn, length[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(length[:]))
		if n > cap(buf) {
			buf = make([]byte, 0, n)
		}
		buf = buf[:n]
		_ = v.conn.SetReadDeadline(time.Now().Add(slowTCP))
		if _, err := io.ReadFull(v.conn, buf); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				v.s.counts.drop(DropSlow)
			}
			return
		}
		if !v.handle(&q, buf) {
			return
		}
	}
}

// handle answers one message, or sees to it that it will be. It is false when the connection is not worth keeping.
func (v *conversation) handle(q *query, msg []byte) bool {
	s, now := v.s, v.s.now()
	if !s.limits.rate(v.who, now) {
		s.counts.drop(DropRate)
		return false
	}
	verdict, code := q.parse(msg)
	if verdict == ignore {
		s.counts.drop(DropNoQuery)
		return false
	}
	s.counts.tcp.Add(1)
	if verdict == refuse {
		return v.put(s.refused(q, v.who, make([]byte, q.end+64), msg, code, maxTCP))
	}
	s.counts.asked(q.qtype)
	if v.room == nil {
		v.room = make([]byte, maxEntry+1024)
	}
	if answer, src, code := s.local(v.room, msg, q, maxTCP, now); answer != nil {
		s.counts.answer(src, code)
		s.logQuery(q, v.who, src, code)
		return v.put(append([]byte(nil), answer...))
	}
	v.open.Add(1)
	if !s.ask(msg, q, maxTCP, v.who, now, func(b []byte) {
		if b != nil {
			v.put(b)
		}
		v.open.Done()
	}) {
		v.open.Done()
		return v.put(s.busy(q, v.who, make([]byte, q.end+64), msg, maxTCP))
	}
	return true
}

// put queues an answer. Who does not take his answers loses the connection.
func (v *conversation) put(answer []byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over || v.broken {
		return false
	}
	if v.bytes > 0 && v.bytes+len(answer) > queueMost {
		v.broken = true
		v.s.counts.drop(DropSlow)
		v.conn.Close()
		v.wake()
		return false
	}
	v.queue = append(v.queue, answer)
	v.bytes += len(answer)
	v.wake()
	return true
}

func (v *conversation) wake() {
	select {
	case v.more <- struct{}{}:
	default:
	}
}

// end lets the writer end when the queue is empty, or at once.
func (v *conversation) end(broken bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over, v.broken = true, v.broken || broken
	v.wake()
}

// write sends what is queued, each answer with its length before it in one call.
func (v *conversation) write() {
	for range v.more {
		for {
			v.mu.Lock()
			list, over := v.queue, v.over
			broken := v.broken
			v.queue = nil
			v.mu.Unlock()
			if broken || len(list) == 0 && over {
				return
			}
			if len(list) == 0 {
				break
			}
			var out []byte
			for _, a := range list {
				out = append(binary.BigEndian.AppendUint16(out, uint16(len(a))), a...)
			}
			_ = v.conn.SetWriteDeadline(time.Now().Add(slowTCP))
			if _, err := v.conn.Write(out); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					v.s.counts.drop(DropSlow)
				}
				v.end(true)
				v.conn.Close()
				return
			}
			v.mu.Lock()
			for _, a := range list {
				v.bytes -= len(a)
			}
			v.mu.Unlock()
		}
	}
}
