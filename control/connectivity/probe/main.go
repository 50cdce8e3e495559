package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"time"
)

// limit of one probe.
const limit = 20 * time.Second

type rawJSON []byte

func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

// Main sends the probe that args name and prints its outcome as JSON.
func Main(out, errOut io.Writer, args []string) int {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	result, err := one(ctx, args)
	if err == nil {
		err = json.NewEncoder(out).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(errOut, err)
		return 1
	}
	return 0
}

// one knows the probes:
//
//	lease                          the Lease
//	ping ADDR COUNT SIZE           Pings; SIZE is of the IP packet, with don't-fragment set
//	tcp ADDR:PORT BYTES            Talk: connect, hello, BYTES there and back
//	open ADDR:PORT WAIT            Talk: connect to anybody's server
//	udp ADDR:PORT                  Talk
//	arp ADDR COUNT                 ARPs
//	broadcast ADDR TOKEN           a token to this (broadcast) address
//	seen TOKEN                     how often the server here counted it
//	neighbour ADDR                 the MAC in the ARP cache, or ""
//	forge KIND COUNT TOKEN ADDR MAC   frames that a webspace must not send; see forge
func one(ctx context.Context, args []string) (any, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("no probe is named")
	}
	p := parser{args: args[1:]}
	switch args[0] {
	case "lease":
		return p.run(readLease)
	case "ping":
		addr, count, size := p.addr(), p.number(), p.number()
		return p.run(func() (any, error) { return ping(ctx, addr, count, size) })
	case "tcp":
		to, n := p.addrPort(), p.number()
		return p.run(func() (any, error) { return TalkTCP(ctx, to, n) })
	case "open":
		to, wait := p.addrPort(), parse(&p, time.ParseDuration)
		return p.run(func() (any, error) {
			ctx, cancel := context.WithTimeout(ctx, wait)
			defer cancel()
			return open(ctx, to)
		})
	case "udp":
		to := p.addrPort()
		return p.run(func() (any, error) { return TalkUDP(ctx, to) })
	case "arp":
		addr, count := p.addr(), p.number()
		return p.run(func() (any, error) { return arp(ctx, addr, count) })
	case "broadcast":
		addr, token := p.addr(), p.text()
		return p.run(func() (any, error) { return nil, broadcast(ctx, addr, token) })
	case "seen":
		token := p.text()
		return p.run(func() (any, error) { return seen(ctx, token) })
	case "neighbour":
		addr := p.addr()
		return p.run(func() (any, error) { return neighbour(addr) })
	case "forge":
		kind, count, token, addr, mac := p.text(), p.number(), p.text(), p.addr(), p.text()
		return p.run(func() (any, error) { return nil, forge(kind, count, token, addr, mac) })
	}
	return nil, fmt.Errorf("there is no probe %q", args[0])
}

// parser takes arguments in order and remembers the first that is wrong.
type parser struct {
	args []string
	err  error
}

func (p *parser) text() string {
	if len(p.args) == 0 {
		if p.err == nil {
			p.err = fmt.Errorf("an argument is missing")
		}
		return ""
	}
	a := p.args[0]
	p.args = p.args[1:]
	return a
}

func parse[T any](p *parser, f func(string) (T, error)) T {
	v, err := f(p.text())
	if p.err == nil {
		p.err = err
	}
	return v
}

func (p *parser) addr() netip.Addr         { return parse(p, netip.ParseAddr) }
func (p *parser) addrPort() netip.AddrPort { return parse(p, netip.ParseAddrPort) }
func (p *parser) number() int              { return parse(p, strconv.Atoi) }

func (p *parser) run(f func() (any, error)) (any, error) {
	if p.err == nil && len(p.args) > 0 {
		p.err = fmt.Errorf("too many arguments")
	}
	if p.err != nil {
		return nil, p.err
	}
	return f()
}

// IsProbe says whether this process is the init of a temporary webspace, or a probe beside it.
func IsProbe() bool { return os.Args[0] == Path }
