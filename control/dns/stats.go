package dns

import (
	"strconv"
	"sync/atomic"
	"time"
)

// Drop says why a message got no answer.
type Drop string

// The reasons of drops, as they appear in metrics.
const (
	DropNotLAN   Drop = "not_lan"  // neither of the LAN nor of the node
	DropNoQuery  Drop = "no_query" // too short, or an answer itself
	DropRate     Drop = "rate"     // more than the webspace's rate
	DropConnects Drop = "connects" // more connections than the webspace's share
	DropSlow     Drop = "slow"     // a connection that takes no answers, or sends half a message
	DropSend     Drop = "send"     // the kernel did not take the answer
	DropKernel   Drop = "kernel"   // the queue of the socket was full
)

// Drops are all reasons.
var Drops = []Drop{DropNotLAN, DropNoQuery, DropRate, DropConnects, DropSlow, DropSend, DropKernel}

// types that are counted by name.
var typeNames = map[uint16]string{1: "A", 28: "AAAA", 12: "PTR", 65: "HTTPS", 15: "MX", 16: "TXT", 33: "SRV", 2: "NS", 6: "SOA",
	5: "CNAME", 43: "DS", 48: "DNSKEY", 255: "ANY"}

var codeNames = map[rcode]string{rcodeOK: "noerror", rcodeFormat: "formerr", rcodeFailure: "servfail", rcodeNXDomain: "nxdomain",
	rcodeNotImpl: "notimp", rcodeRefused: "refused", rcodeBadVers: "badvers"}

// counts are what the server counts. Types above 255 share a place.
type counts struct {
	types   [257]atomic.Uint64
	answers [sources][rcodes]atomic.Uint64
	drops   [7]atomic.Uint64 // in the order of Drops
	tcp     atomic.Uint64

	shared, prefetched, coalesced, rebound atomic.Uint64
}

func (c *counts) asked(t uint16) { c.types[min(t, 256)].Add(1) }

func (c *counts) answer(s source, code rcode) { c.answers[s][min(code, rcodes-1)].Add(1) }

func (c *counts) drop(d Drop) {
	for i, one := range Drops {
		if one == d {
			c.drops[i].Add(1)
			return
		}
	}
}

// Stats counts since New, and tells how things are now.
type Stats struct {
	Queries map[string]uint64            // by type: "A", ..., "other"
	Answers map[string]map[string]uint64 // by source ("protocol", "zone", "cache", "upstream") and code ("noerror", ...)
	Dropped map[string]uint64            // by Drop
	TCP     uint64                       // of the queries, those by TCP

	Coalesced  uint64 // questions that waited for another's answer
	Prefetched uint64 // names that were fetched again before their time
	Rebound    uint64 // answers refused because they lead inside
	Overloaded uint64 // questions refused because too many were open

	Records      int // names of the zone
	CacheEntries int
	CacheBytes   int
	Open         int // questions that wait for upstreams
	Connections  int

	Upstreams []UpstreamStats
}

// UpstreamStats is one upstream's.
type UpstreamStats struct {
	Name     string
	Up       bool
	Asked    uint64
	Answered uint64
	Timeouts uint64
	Errors   uint64
	Bad      uint64        // answers that were of no use: failures and referrals
	Again    uint64        // answers that had to be asked for by TCP
	Forged   uint64        // messages that did not fit
	Took     time.Duration // of all answers together
}

// Stats gives the counts.
func (s *Server) Stats() Stats {
	out := Stats{Queries: map[string]uint64{"other": 0}, Answers: map[string]map[string]uint64{}, Dropped: map[string]uint64{}}
	c := &s.counts
	for _, name := range typeNames {
		out.Queries[name] = 0
	}
	for t := range c.types {
		name := typeNames[uint16(t)]
		if name == "" {
			name = "other"
		}
		out.Queries[name] += c.types[t].Load()
	}
	for src, name := range sourceNames {
		m := map[string]uint64{}
		for code := range c.answers[src] {
			n := c.answers[src][code].Load()
			if label := codeNames[rcode(code)]; label != "" {
				m[label] = n
			} else if n > 0 {
				m[strconv.Itoa(code)] = n
			}
		}
		out.Answers[name] = m
	}
	for i, d := range Drops {
		out.Dropped[string(d)] = c.drops[i].Load()
	}
	out.TCP, out.Coalesced, out.Prefetched = c.tcp.Load(), c.coalesced.Load(), c.prefetched.Load()
	out.Rebound, out.Overloaded = c.rebound.Load(), c.shared.Load()
	out.Records = s.zone.Load().hosts
	out.CacheEntries, out.CacheBytes = s.cache.size()
	out.Open, out.Connections = int(s.limits.open.Load()), int(s.limits.tcp.Load())
	for _, u := range s.upstreams {
		out.Upstreams = append(out.Upstreams, UpstreamStats{Name: u.String(), Up: !u.down.Load(), Asked: u.asked.Load(),
			Answered: u.answers.Load(), Timeouts: u.timeouts.Load(), Errors: u.errs.Load(), Bad: u.bad.Load(),
			Again: u.again.Load(), Forged: u.forged.Load(), Took: time.Duration(u.took.Load())})
	}
	return out
}
