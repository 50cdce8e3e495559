package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

type dialResult struct {
	Peer, Local string // as the server sees them: Peer is us
	Error       string
	Millis      float64
}

// dial connects (TCP) or sends one datagram (UDP) and says whom the server saw.
func dial(_ context.Context, args []string) (any, error) {
	f := flag.NewFlagSet("dial", flag.ContinueOnError)
	proto := f.String("proto", "tcp", "tcp or udp")
	from := f.String("from", "", "local address with port")
	limit := f.Duration("timeout", 2*time.Second, "for everything")
	if err := parse(f, args, 1); err != nil {
		return nil, err
	}
	start := time.Now()
	c, r, err := connect(*proto, *from, f.Arg(0), *limit)
	r.Millis = float64(time.Since(start).Microseconds()) / 1000
	if err != nil {
		r.Error = err.Error()
		return r, err
	}
	return r, c.Close()
}

// connect opens a connection and reads the server's banner.
func connect(proto, from, to string, limit time.Duration) (net.Conn, dialResult, error) {
	var r dialResult
	d := net.Dialer{Timeout: limit}
	if from != "" {
		var err error
		if proto == "udp" {
			d.LocalAddr, err = net.ResolveUDPAddr(proto, from)
		} else {
			d.LocalAddr, err = net.ResolveTCPAddr(proto, from)
		}
		if err != nil {
			return nil, r, err
		}
	}
	c, err := d.Dial(proto, to)
	if err != nil {
		return nil, r, err
	}
	_ = c.SetDeadline(time.Now().Add(limit))
	if proto == "udp" {
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			return nil, r, err
		}
	}
	var text strings.Builder
	b := make([]byte, 2048)
	for !strings.Contains(text.String(), "\n") {
		n, err := c.Read(b)
		if err != nil {
			c.Close()
			return nil, r, fmt.Errorf("read the banner: %w", err)
		}
		text.Write(b[:n])
	}
	if _, err := fmt.Sscanf(text.String(), "peer %s local %s\n", &r.Peer, &r.Local); err != nil {
		c.Close()
		return nil, r, fmt.Errorf("not a banner: %.80q", text.String())
	}
	_ = c.SetDeadline(time.Time{})
	return c, r, nil
}

type streamResult struct {
	Peer         string
	Sent, Echoed int
	MaxGap       float64 // ms between two echoes
	Error        string
}

// stream holds one TCP connection open, sends numbered lines and checks that each comes back, in order.
func stream(ctx context.Context, args []string) (any, error) {
	f := flag.NewFlagSet("stream", flag.ContinueOnError)
	duration := f.Duration("for", 10*time.Second, "how long")
	interval := f.Duration("interval", 10*time.Millisecond, "between lines")
	patience := f.Duration("patience", 10*time.Second, "without any echo before giving up")
	if err := parse(f, args, 1); err != nil {
		return nil, err
	}
	c, d, err := connect("tcp", "", f.Arg(0), 5*time.Second)
	r := streamResult{Peer: d.Peer}
	if err != nil {
		r.Error = err.Error()
		return r, err
	}
	defer c.Close()
	ready()
	sent := make(chan int, 1)
	go func() {
		tick := time.NewTicker(*interval)
		defer tick.Stop()
		end := time.After(*duration)
		n := 0
		defer func() { sent <- n }()
		for {
			if _, err := fmt.Fprintf(c, "line %d\n", n); err != nil {
				return
			}
			n++
			select {
			case <-tick.C:
			case <-end:
				_ = c.(*net.TCPConn).CloseWrite()
				return
			case <-ctx.Done():
				_ = c.(*net.TCPConn).CloseWrite()
				return
			}
		}
	}()
	lines := bufio.NewScanner(c)
	last := time.Now()
	for {
		_ = c.SetReadDeadline(time.Now().Add(*patience))
		if !lines.Scan() {
			break
		}
		r.MaxGap = max(r.MaxGap, float64(time.Since(last).Microseconds())/1000)
		last = time.Now()
		if want := fmt.Sprintf("line %d", r.Echoed); lines.Text() != want {
			err = fmt.Errorf("got %.40q, want %q", lines.Text(), want)
			break
		}
		r.Echoed++
	}
	err = errors.Join(err, lines.Err())
	c.Close()
	r.Sent = <-sent
	if err == nil && r.Sent != r.Echoed {
		err = fmt.Errorf("%d of %d lines came back", r.Echoed, r.Sent)
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r, err
}
