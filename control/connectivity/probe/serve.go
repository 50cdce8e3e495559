package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// Port of the server in every temporary webspace, TCP and UDP.
const Port = 7007

// Closed is a port where nobody listens.
const Closed = Port + 1

// Hello is what the server says first: how it sees the client.
type Hello struct {
	Peer netip.AddrPort `json:"peer"`
	Name string         `json:"name"` // of the webspace
}

// Datagrams of the UDP side. Everything else is answered with a Hello.
const (
	tokenPrefix = "token:" // counted, not answered
	seenPrefix  = "seen:"  // from loopback: how often was this token counted?
)

// maxTokens bounds the memory of the counter.
const maxTokens = 4096

// Serve answers until ctx ends: on TCP with a Hello and then an echo, on UDP as above.
func Serve(ctx context.Context, port uint16) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	tcp, err := lc.Listen(ctx, "tcp4", fmt.Sprintf(":%d", port))
	if err != nil {
		return err
	}
	udp, err := lc.ListenPacket(ctx, "udp4", fmt.Sprintf(":%d", port))
	if err != nil {
		return errors.Join(err, tcp.Close())
	}
	stop := context.AfterFunc(ctx, func() { _, _ = tcp.Close(), udp.Close() })
	defer stop()
	var parts sync.WaitGroup
	parts.Go(func() { serveUDP(udp.(*net.UDPConn), name) })
	for {
		c, err := tcp.Accept()
		if err != nil {
			_, _ = tcp.Close(), udp.Close()
			parts.Wait()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		go serveTCP(c, name) // ends by its deadline
	}
}

func serveTCP(c net.Conn, name string) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	b, err := json.Marshal(Hello{Peer: addrPort(c.RemoteAddr()), Name: name})
	if err != nil {
		return
	}
	if _, err := c.Write(append(b, '\n')); err != nil {
		return
	}
	_, _ = io.Copy(c, c)
}

func serveUDP(c *net.UDPConn, name string) {
	seen := map[string]int{}
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error about an earlier answer
		}
		text := string(buf[:n])
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		var answer any
		switch token, isToken := strings.CutPrefix(text, tokenPrefix); {
		case isToken:
			if len(seen) < maxTokens {
				seen[token]++
			}
			continue
		case strings.HasPrefix(text, seenPrefix) && from.Addr().IsLoopback():
			answer = seen[strings.TrimPrefix(text, seenPrefix)]
		default:
			answer = Hello{Peer: from, Name: name}
		}
		if b, err := json.Marshal(answer); err == nil {
			_, _ = c.WriteToUDPAddrPort(b, from)
		}
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}
