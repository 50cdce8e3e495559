package dns

import "encoding/binary"

// Reasons beside a code (RFC 8914).
const (
	edeBlocked   = 15
	edeNotReady  = 14
	edeForbidden = 18
	edeNetwork   = 23
)

// source says where an answer came from, for metrics.
type source uint8

const (
	fromProtocol source = iota // a refusal, before anything was looked up
	fromZone
	fromCache
	fromUpstream
	sources
)

var sourceNames = [sources]string{"protocol", "zone", "cache", "upstream"}

// body is what follows the question: packed records, whose pointers count from the message's beginning.
type body struct {
	code    rcode
	an, ns  uint16
	ar      uint16
	aa      bool
	ede     uint16
	records []byte
}

// write puts a whole answer to a message into out, which must hold limit bytes. What does not fit is left out, with the
// bit that says so (RFC 2181, section 9): the asker comes again by TCP.
func (q *query) write(out, msg []byte, b *body, limit int) []byte {
	opt := 0
	if q.edns {
		opt = optLen
		if b.ede != 0 {
			opt += 6
		}
	}
	flags := flagQR | flagRA | q.flags&(opcodeMask|flagRD|flagCD) | uint16(b.code)&0xf
	if b.aa {
		flags |= flagAA
	}
	questions := uint16(1)
	end := q.end
	if end == 0 { // no good question to repeat
		end, questions = headerLen, 0
	}
	an, ns, ar, records := b.an, b.ns, b.ar, b.records
	if end+len(records)+opt > limit {
		an, ns, ar, records = 0, 0, 0, nil
		flags |= flagTC
	}
	out = out[:end+len(records)+opt]
	copy(out, msg[:2])
	binary.BigEndian.PutUint16(out[2:], flags)
	binary.BigEndian.PutUint16(out[4:], questions)
	binary.BigEndian.PutUint16(out[6:], an)
	binary.BigEndian.PutUint16(out[8:], ns)
	if opt > 0 {
		ar++
	}
	binary.BigEndian.PutUint16(out[10:], ar)
	copy(out[headerLen:end], msg[headerLen:end])
	copy(out[end:], records)
	if opt > 0 {
		q.writeOPT(out[end+len(records):], b)
	}
	return out
}

func (q *query) writeOPT(o []byte, b *body) {
	o[0] = 0
	binary.BigEndian.PutUint16(o[1:], typeOPT)
	binary.BigEndian.PutUint16(o[3:], safeUDP)
	o[5] = byte(b.code >> 4)
	o[6] = 0 // version
	o[7], o[8] = 0, 0
	if q.do {
		o[7] = ednsDO >> 8
	}
	o[9], o[10] = 0, 0
	if b.ede != 0 {
		o[10] = 6
		binary.BigEndian.PutUint16(o[11:], 15) // the option's number
		binary.BigEndian.PutUint16(o[13:], 2)
		binary.BigEndian.PutUint16(o[15:], b.ede)
	}
}

// limit is how long an answer by UDP may be.
func (q *query) limit() int { return min(q.size, safeUDP) }

// local answers from what this node knows: zone, cache, or the refusal that a question earns. It gives nil when upstreams
// have to be asked. now counts nanoseconds of the server's clock.
func (s *Server) local(out, msg []byte, q *query, limit int, now int64) ([]byte, source, rcode) {
	var b body
	if q.qclass != classIN {
		b.code = rcodeRefused
		return q.write(out, msg, &b, limit), fromProtocol, b.code
	}
	if q.qtype-128 < 128 || q.qtype == typeOPT || q.qtype == 0 {
		if b.code = meta(q.qtype); b.code != rcodeOK {
			return q.write(out, msg, &b, limit), fromProtocol, b.code
		}
	}
	z := s.zone.Load()
	if n := z.nodes[string(q.name())]; n != nil && n.answer(z, q, &b) {
		return q.write(out, msg, &b, limit), fromZone, b.code
	}
	if out, code, hit := s.cached(out, msg, q, limit, now); hit {
		return out, fromCache, code
	}
	if z.below(q, &b) {
		return q.write(out, msg, &b, limit), fromZone, b.code
	}
	switch {
	case q.qtype == typeANY: // RFC 8482: nobody needs everything, except to make big answers
		b.an, b.records = 1, anything
	case q.flags&flagRD == 0: // this is no server of others' zones
		b.code, b.ede = rcodeRefused, edeForbidden
	default:
		return nil, 0, 0
	}
	return q.write(out, msg, &b, limit), fromProtocol, b.code
}

// anything is a HINFO record for ANY.
var anything = record([]byte{0xc0, headerLen}, typeHINFO, 3600, []byte("\x07RFC8482\x00"))

// meta gives the code for types that are no data (RFC 6895, section 3.1).
func meta(t uint16) rcode {
	switch t {
	case typeANY:
		return rcodeOK
	case typeAXFR, typeIXFR:
		return rcodeRefused
	case typeOPT, 0:
		return rcodeFormat
	}
	return rcodeNotImpl
}

// answer fills in what a node has. It is false when others have to be asked about its name.
func (n *node) answer(z *zone, q *query, b *body) bool {
	if n.alias && q.qtype != typeA && q.qtype != typeAAAA {
		return false
	}
	b.aa = n.ours
	switch {
	case q.qtype == typeA && n.a != nil, q.qtype == typeANY && n.a != nil:
		b.an, b.records = uint16(len(n.a)/addressLen4), n.a
	case q.qtype == typeAAAA && n.aaaa != nil, q.qtype == typeANY && n.aaaa != nil:
		b.an, b.records = uint16(len(n.aaaa)/addressLen6), n.aaaa
	case q.qtype == typePTR && n.ptr != nil, q.qtype == typeANY && n.ptr != nil:
		b.an, b.records = 1, n.ptr
	case q.qtype == typeSOA && n.apex, q.qtype == typeANY && n.apex:
		b.an, b.records = 1, n.soa
	case q.qtype == typeNS && n.apex:
		b.an, b.records = 1, n.ns
	case n.blocked && !n.forged:
		b.code, b.ede, b.aa = rcodeNXDomain, edeBlocked, false
	case n.ours && !n.apex && !z.loaded && n.a == nil: // what would be here is not known yet
		b.code, b.ede, b.aa = rcodeFailure, edeNotReady, false
	case n.alias || n.forged:
	default:
		z.negative(q, b, 0)
	}
	return true
}

// The lengths of a packed A and AAAA record, owner included.
const (
	addressLen4 = 2 + 10 + 4
	addressLen6 = 2 + 10 + 16
)

// negative adds the SOA of the zone that a name is in; from says at which octet of the name to begin looking.
func (z *zone) negative(q *query, b *body, from int) {
	name := q.name()
	for off := from; name[off] != 0; off += 1 + int(name[off]) {
		if n := z.nodes[string(name[off:])]; n != nil && n.apex {
			at := headerLen + off
			b.records = append([]byte{0xc0 | byte(at>>8), byte(at)}, n.soaTail...)
			b.ns = 1
			return
		}
	}
}

// below answers for names that have no node, but an apex or a blocked name above them, and for single labels, which are
// nobody's names outside.
func (z *zone) below(q *query, b *body) bool {
	name := q.name()
	if name[0] == 0 {
		return false
	}
	for off := 1 + int(name[0]); name[off] != 0; off += 1 + int(name[off]) {
		n := z.nodes[string(name[off:])]
		switch {
		case n == nil:
		case n.apex && n.ours && !z.loaded:
			b.code, b.ede = rcodeFailure, edeNotReady
			return true
		case n.apex:
			b.code, b.aa = rcodeNXDomain, n.ours
			z.negative(q, b, off)
			return true
		case n.blocked:
			b.code, b.ede = rcodeNXDomain, edeBlocked
			return true
		}
	}
	if q.labels == 1 && (q.qtype == typeA || q.qtype == typeAAAA) {
		b.code = rcodeNXDomain
		return true
	}
	return false
}
