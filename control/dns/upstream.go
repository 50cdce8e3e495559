package dns

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// downAfter so many failures in a row an upstream is asked last, and looked at from time to time.
	downAfter = 3
	probeMin  = time.Second
	probeMax  = 15 * time.Second
	// idleTLS connections to one upstream are kept, each for idleFor.
	idleTLS = 8
	idleFor = 8 * time.Second
)

// upstream is a name server, and what is remembered of it.
type upstream struct {
	Upstream
	tls *tls.Config

	fails atomic.Int32 // in a row
	down  atomic.Bool

	asked, answers, timeouts, errs, bad, again, forged atomic.Uint64
	took                                               atomic.Int64 // nanoseconds, of answers

	mu   sync.Mutex
	idle []idleConn
}

type idleConn struct {
	net.Conn
	since time.Time
}

func newUpstream(c Upstream) *upstream {
	u := &upstream{Upstream: c}
	if c.TLS {
		name := c.Name
		if name == "" {
			name = c.Addr.Addr().String()
		}
		u.tls = &tls.Config{ServerName: name, RootCAs: c.Roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"dot"},
			ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	}
	return u
}

// inOrder gives the upstreams in which to ask: those that answer, as configured, and then those that did not.
func (s *Server) inOrder() []*upstream {
	out := make([]*upstream, 0, len(s.upstreams))
	for _, want := range []bool{false, true} {
		for _, u := range s.upstreams {
			if u.down.Load() == want {
				out = append(out, u)
			}
		}
	}
	return out
}

func (u *upstream) answered(took time.Duration) {
	u.answers.Add(1)
	u.took.Add(int64(took))
	u.fails.Store(0)
	u.down.Store(false)
}

func (u *upstream) failed(err error, log *slog.Logger) {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		u.timeouts.Add(1)
	} else {
		u.errs.Add(1)
	}
	if u.fails.Add(1) == downAfter && !u.down.Swap(true) {
		log.Warn("dns: an upstream does not answer", "upstream", u.String(), "err", err)
	}
}

// watch looks after an upstream that is down, so that no asker has to find out that it is back.
func (s *Server) watch(ctx context.Context, u *upstream) {
	wait := probeMin
	for {
		select {
		case <-ctx.Done():
			u.closeIdle()
			return
		case <-time.After(wait):
		}
		u.expireIdle(time.Now())
		if !u.down.Load() {
			wait = probeMin
			continue
		}
		began := time.Now()
		try, cancel := context.WithTimeout(ctx, s.config.Timeout)
		_, err := u.exchange(try, rootQuestion)
		cancel()
		if err == nil {
			u.answered(time.Since(began))
			s.log.Info("dns: an upstream answers again", "upstream", u.String())
			continue
		}
		wait = min(2*wait, probeMax)
	}
}

// rootQuestion is asked to see whether an upstream lives: the name servers of the root.
var rootQuestion = newQuestion(string([]byte{0, 0, typeNS, 0}))

// overTLS asks by a connection that is open already, if there is one.
func (u *upstream) overTLS(ctx context.Context, sent []byte) ([]byte, error) {
	for {
		c := u.takeIdle()
		if c == nil {
			break
		}
		got, err := u.talkTLS(ctx, c, sent)
		if err == nil || !closedByPeer(err) {
			return got, err
		} // it was closed meanwhile: not the upstream's failure
	}
	d := tls.Dialer{Config: u.tls}
	c, err := d.DialContext(ctx, "tcp", u.Addr.String())
	if err != nil {
		return nil, err
	}
	return u.talkTLS(ctx, c, sent)
}

func (u *upstream) talkTLS(ctx context.Context, c net.Conn, sent []byte) ([]byte, error) {
	stop := bound(ctx, c)
	got, err := talk(c, sent)
	stop()
	if err != nil || ctx.Err() != nil {
		c.Close()
		return got, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.idle) >= idleTLS {
		c.Close()
	} else {
		u.idle = append(u.idle, idleConn{c, time.Now()})
	}
	return got, nil
}

func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

func (u *upstream) takeIdle() net.Conn {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.idle) == 0 {
		return nil
	}
	c := u.idle[len(u.idle)-1]
	u.idle = u.idle[:len(u.idle)-1]
	return c.Conn
}

func (u *upstream) expireIdle(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.idle) > 0 && now.Sub(u.idle[0].since) > idleFor {
		u.idle[0].Close()
		u.idle = u.idle[1:]
	}
}

func (u *upstream) closeIdle() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range u.idle {
		c.Close()
	}
	u.idle = nil
}
