package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Talk is a conversation with a server. Errors of the network are an outcome, and in Error.
type Talk struct {
	Local   netip.AddrPort `json:"local"`
	Hello   Hello          `json:"hello"`
	Connect time.Duration  `json:"connect_ns"` // until connected; UDP: until the first answer
	Took    time.Duration  `json:"took_ns"`
	Error   string         `json:"error,omitempty"`
}

const talkTimeout = 5 * time.Second

// TalkTCP connects, reads the Hello, and sends n bytes that must come back as they were.
func TalkTCP(ctx context.Context, to netip.AddrPort, n int) (Talk, error) {
	return talk(func(t *Talk, start time.Time) error {
		c, err := dial(ctx, "tcp4", to, t, start)
		if err != nil {
			return err
		}
		defer c.Close()
		in := bufio.NewReader(c)
		line, err := in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("no hello: %w", err)
		}
		if err := json.Unmarshal(line, &t.Hello); err != nil {
			return fmt.Errorf("this is not one of our servers: %w", err)
		}
		return echo(c, in, n)
	}), nil
}

func open(ctx context.Context, to netip.AddrPort) (Talk, error) {
	return talk(func(t *Talk, start time.Time) error {
		c, err := dial(ctx, "tcp4", to, t, start)
		if err != nil {
			return err
		}
		return c.Close()
	}), nil
}

// TalkUDP says something until it is answered; the first datagram may be the one that teaches a neighbour's address.
func TalkUDP(ctx context.Context, to netip.AddrPort) (Talk, error) {
	return talk(func(t *Talk, start time.Time) error {
		c, err := dial(ctx, "udp4", to, t, start)
		if err != nil {
			return err
		}
		defer c.Close()
		buf := make([]byte, 2048)
		var n int
		for range 3 {
			if _, err = c.Write([]byte("hello")); err == nil {
				_ = c.SetReadDeadline(time.Now().Add(time.Second))
				n, err = c.Read(buf)
			}
			if err == nil || errors.Is(err, syscall.ECONNREFUSED) { // an ICMP error is an answer too
				break
			}
		}
		if err != nil {
			return err
		}
		t.Connect = time.Since(start)
		return json.Unmarshal(buf[:n], &t.Hello)
	}), nil
}

func talk(f func(*Talk, time.Time) error) Talk {
	var t Talk
	start := time.Now()
	if err := f(&t, start); err != nil {
		t.Error = short(err)
	}
	t.Took = time.Since(start)
	return t
}

func dial(ctx context.Context, network string, to netip.AddrPort, t *Talk, start time.Time) (net.Conn, error) {
	d := net.Dialer{Timeout: talkTimeout}
	c, err := d.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, err
	}
	t.Connect = time.Since(start)
	t.Local = addrPort(c.LocalAddr())
	return c, c.SetDeadline(time.Now().Add(2 * talkTimeout))
}

// echo sends n bytes and compares what comes back.
func echo(c net.Conn, in io.Reader, n int) error {
	if n == 0 {
		return nil
	}
	want := bytes.Repeat([]byte("lanyard connectivity test\n"), n/26+1)[:n]
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(want)
		sent <- err
	}()
	hash := sha256.New()
	got, err := io.CopyN(hash, in, int64(n))
	if err != nil {
		_ = c.Close() // ends the writer
	}
	err = errors.Join(err, <-sent)
	if err != nil {
		return fmt.Errorf("%d of %d bytes came back: %w", got, n, err)
	}
	if sum := sha256.Sum256(want); !bytes.Equal(hash.Sum(nil), sum[:]) {
		return errors.New("what came back is not what was sent")
	}
	return nil
}

// broadcast sends a token; whoever serves on the LAN counts it.
func broadcast(ctx context.Context, to netip.Addr, token string) error {
	var lc net.ListenConfig
	c, err := lc.ListenPacket(ctx, "udp4", ":0") // Go sets SO_BROADCAST on every UDP socket
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.WriteTo([]byte(tokenPrefix+token), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, Port)))
	return err
}

// seen asks our own server.
func seen(ctx context.Context, token string) (int, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp4", fmt.Sprintf("127.0.0.1:%d", Port))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return 0, err
	}
	if _, err := c.Write([]byte(seenPrefix + token)); err != nil {
		return 0, err
	}
	buf := make([]byte, 64)
	n, err := c.Read(buf)
	if err != nil {
		return 0, err
	}
	var count int
	return count, json.Unmarshal(buf[:n], &count)
}

// short is the system's own reason: "connection refused".
func short(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		if e.Timeout() {
			return "no answer"
		}
		if e.Err != nil {
			return e.Err.Error()
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer"
	}
	return err.Error()
}
