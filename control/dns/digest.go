package dns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

const (
	maxTTL         = 86400    // RFC 8767, section 4
	maxNegativeTTL = 3 * 3600 // RFC 2308, section 5
	minHotTTL      = 20       // names of a shorter life are not fetched ahead
	chainMost      = 16       // aliases that are followed in one answer
	refusedTTL     = 60       // of an answer that was refused as rebinding
	topBit         = 1 << 31  // RFC 2181, section 8
)

var errReferral = errors.New("it refers to other servers: it is no resolver")

// digest makes of an upstream's message what belongs to the question, and nothing else: the chain of aliases that
// begins at the name, what was asked for at its end, or the SOA that says how long there is nothing. Further names,
// which the upstream may know or make up, are not learnt.
func (s *Server) digest(q *question, raw []byte) (*entry, error) {
	var m dns.Msg
	if err := m.Unpack(raw); err != nil {
		return nil, err
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("it answers %s", dns.RcodeToString[m.Rcode])
	}
	name, _, err := dns.UnpackDomainName(q.name, 0)
	if err != nil {
		return nil, err
	}
	answer, end, found := chain(&m, q, name)
	now := s.now()
	e := &entry{key: q.key, born: now, body: body{code: rcode(m.Rcode)}}
	if found && s.rebinds(name, answer) {
		s.counts.rebound.Add(1)
		e.code, e.ede, e.expires = rcodeOK, edeBlocked, now+refusedTTL*1e9
		return e, nil
	}
	var ns []dns.RR
	ttl := uint32(maxTTL)
	if !found {
		var soa *dns.SOA
		if ns, soa = denial(&m, q, end); soa != nil {
			ttl = min(soa.Hdr.Ttl, soa.Minttl, maxNegativeTTL)
			soa.Hdr.Ttl = ttl // RFC 2308, section 3
		} else {
			ttl = 0 // RFC 2308, section 5: nothing says how long this may be kept
			if len(answer) == 0 && m.Rcode == dns.RcodeSuccess && !m.Authoritative && slices.ContainsFunc(m.Ns, isNS) {
				return nil, errReferral
			}
		}
	}
	evenTTLs(answer)
	for _, rr := range slices.Concat(answer, ns) {
		ttl = min(ttl, rr.Header().Ttl)
	}
	if err := e.pack(q, answer, ns); err != nil {
		return nil, err
	}
	e.expires = now + int64(ttl)*1e9
	if ttl >= minHotTTL && found {
		e.hot = now + int64(ttl)*9e8
	}
	return e, nil
}

func isNS(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeNS }

// chain gives the records of the answer that belong to the question, in their order, the last name that an alias led to,
// and whether what was asked for is there.
func chain(m *dns.Msg, q *question, name string) (out []dns.RR, end string, found bool) {
	end = dns.CanonicalName(name)
	used := make([]bool, len(m.Answer))
	pick := func(ok func(dns.RR) bool) (picked []dns.RR) {
		for i, rr := range m.Answer {
			if !used[i] && rr.Header().Class == dns.ClassINET && len(out)+len(picked) < 512 && ok(rr) {
				used[i] = true
				picked = append(picked, rr)
			}
		}
		return picked
	}
	signs := func(rr dns.RR, owner string, t uint16) bool {
		sig, ok := rr.(*dns.RRSIG)
		return ok && q.do && sig.TypeCovered == t && dns.CanonicalName(sig.Hdr.Name) == owner
	}
	for range chainMost {
		owner := end
		set := pick(func(rr dns.RR) bool {
			return rr.Header().Rrtype == q.qtype && dns.CanonicalName(rr.Header().Name) == owner
		})
		if len(set) > 0 {
			out = append(append(out, set...), pick(func(rr dns.RR) bool { return signs(rr, owner, q.qtype) })...)
			return out, end, true
		}
		// A DNAME explains the alias that follows it.
		for _, d := range pick(func(rr dns.RR) bool {
			return rr.Header().Rrtype == dns.TypeDNAME && dns.IsSubDomain(dns.CanonicalName(rr.Header().Name), owner)
		}) {
			above := dns.CanonicalName(d.Header().Name)
			out = append(append(out, d), pick(func(rr dns.RR) bool { return signs(rr, above, dns.TypeDNAME) })...)
		}
		alias := pick(func(rr dns.RR) bool {
			return rr.Header().Rrtype == dns.TypeCNAME && dns.CanonicalName(rr.Header().Name) == owner
		})
		if len(alias) == 0 {
			break
		}
		out = append(append(out, alias[0]), pick(func(rr dns.RR) bool { return signs(rr, owner, dns.TypeCNAME) })...)
		end = dns.CanonicalName(alias[0].(*dns.CNAME).Target)
	}
	return out, end, false
}

// denial gives what of the authority section proves that there is nothing at a name: the SOA of a zone above it, and for
// who validates, the proofs.
func denial(m *dns.Msg, q *question, name string) (out []dns.RR, soa *dns.SOA) {
	for _, rr := range m.Ns {
		if s, ok := rr.(*dns.SOA); ok && soa == nil && s.Hdr.Class == dns.ClassINET && dns.IsSubDomain(s.Hdr.Name, name) {
			soa = s
			out = append(out, rr)
		}
	}
	if soa == nil || !q.do {
		return out, soa
	}
	for _, rr := range m.Ns {
		switch r := rr.(type) {
		case *dns.NSEC, *dns.NSEC3:
			if dns.IsSubDomain(soa.Hdr.Name, rr.Header().Name) {
				out = append(out, rr)
			}
		case *dns.RRSIG:
			if t := r.TypeCovered; (t == dns.TypeSOA || t == dns.TypeNSEC || t == dns.TypeNSEC3) && dns.IsSubDomain(soa.Hdr.Name, r.Hdr.Name) {
				out = append(out, rr)
			}
		}
	}
	return out, soa
}

// evenTTLs gives all records of a set the least TTL among them (RFC 2181, section 5.2), within what is believed.
func evenTTLs(list []dns.RR) {
	type set struct {
		name string
		t    uint16
	}
	least := make(map[set]uint32)
	of := func(rr dns.RR) set { return set{strings.ToLower(rr.Header().Name), rr.Header().Rrtype} }
	for _, rr := range list {
		h := rr.Header()
		if h.Ttl >= topBit {
			h.Ttl = 0
		}
		h.Ttl = min(h.Ttl, maxTTL)
		if t, ok := least[of(rr)]; !ok || h.Ttl < t {
			least[of(rr)] = h.Ttl
		}
	}
	for _, rr := range list {
		rr.Header().Ttl = least[of(rr)]
	}
}

// pack makes the bytes that follow the question, and notes where TTLs are in them.
func (e *entry) pack(q *question, answer, ns []dns.RR) error {
	name, _, err := dns.UnpackDomainName(q.name, 0)
	if err != nil {
		return err
	}
	m := dns.Msg{Question: []dns.Question{{Name: name, Qtype: q.qtype, Qclass: dns.ClassINET}}, Answer: answer, Ns: ns, Compress: true}
	raw, err := m.Pack()
	if err != nil {
		return err
	}
	start := headerLen + len(q.name) + 4
	if len(raw) < start {
		return errFrame
	}
	e.an, e.ns = uint16(len(answer)), uint16(len(ns))
	e.records = append([]byte(nil), raw[start:]...) // without the room that Pack left
	for off := start; off < len(raw); {
		at, ok := skipName(raw, off)
		if !ok || at+10 > len(raw) {
			return errFrame
		}
		e.ttls = append(e.ttls, uint16(at+4-start))
		off = at + 10 + int(binary.BigEndian.Uint16(raw[at+8:]))
	}
	return nil
}
