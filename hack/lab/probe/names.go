package main

import (
	"context"
	"flag"
	"net"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"
)

// names is a name server that knows example.org and everything below it: A 198.51.100.10, TTL 300. Any other name does
// not exist. It serves by UDP and TCP for as long as it runs; TXT count.example.org says how many questions it was asked
// about other names than that.
func names(ctx context.Context, args []string) (any, error) {
	f := flag.NewFlagSet("names", flag.ContinueOnError)
	listen := f.String("listen", ":53", "address")
	if err := parse(f, args, 0); err != nil {
		return nil, err
	}
	var asked atomic.Int64
	h := dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		r := new(dns.Msg)
		r.SetReply(m)
		r.RecursionAvailable = true
		name := strings.ToLower(m.Question[0].Name)
		head := func(t uint16) dns.RR_Header {
			return dns.RR_Header{Name: m.Question[0].Name, Rrtype: t, Class: dns.ClassINET, Ttl: 300}
		}
		switch {
		case name == "count.example.org.":
			r.Answer = append(r.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{seen(asked.Load())}})
		case dns.IsSubDomain("example.org.", name) && m.Question[0].Qtype == dns.TypeA:
			r.Answer = append(r.Answer, &dns.A{Hdr: head(dns.TypeA), A: net.IPv4(198, 51, 100, 10)})
		case !dns.IsSubDomain("example.org.", name):
			r.Rcode = dns.RcodeNameError
		}
		if name != "count.example.org." && name != "." {
			asked.Add(1)
		}
		_ = w.WriteMsg(r) // an asker that has gone is its own business
	})
	pc, err := net.ListenPacket("udp4", *listen)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp4", *listen)
	if err != nil {
		return nil, err
	}
	failed := make(chan error, 2)
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}} {
		go func() { failed <- s.ActivateAndServe() }() // ends with the program
	}
	ready()
	select {
	case err := <-failed:
		return nil, err
	case <-ctx.Done():
		return nil, nil
	}
}

func seen(n int64) string { return strconv.FormatInt(n, 10) }
