package dns

import "encoding/binary"

// Sizes and numbers of messages (RFC 1035, section 4.1; RFC 6891, section 6.1).
const (
	headerLen = 12
	maxName   = 255
	maxLabel  = 63
	minUDP    = 512
	// safeUDP is a payload that passes every path without fragments; it is offered to both sides.
	safeUDP = 1232
	maxTCP  = 65535
	optLen  = 11 // an OPT record without options

	typeA, typeNS, typeCNAME, typeSOA, typePTR = 1, 2, 5, 6, 12
	typeHINFO, typeTXT, typeAAAA, typeOPT      = 13, 16, 28, 41
	typeTKEY, typeMAILA, typeANY               = 249, 254, 255
	typeIXFR, typeAXFR                         = 251, 252

	classIN = 1

	flagQR, flagAA, flagTC, flagRD = 1 << 15, 1 << 10, 1 << 9, 1 << 8
	flagRA, flagAD, flagCD         = 1 << 7, 1 << 5, 1 << 4
	opcodeMask                     = 0xf << 11

	ednsDO = 1 << 15
)

// Response codes (RFC 1035, section 4.1.1; RFC 6891, section 9).
type rcode uint16

const (
	rcodeOK       rcode = 0
	rcodeFormat   rcode = 1
	rcodeFailure  rcode = 2
	rcodeNXDomain rcode = 3
	rcodeNotImpl  rcode = 4
	rcodeRefused  rcode = 5
	rcodeBadVers  rcode = 16

	rcodes = 17
)

// Bits of a key that make answers differ beside name and type.
const (
	keyDO = 1 << iota
	keyCD
)

// query is a request, taken apart as far as answering needs. It is used again for the next one.
type query struct {
	flags  uint16
	end    int // of the question, in the message
	qtype  uint16
	qclass uint16
	edns   bool
	do     bool
	vers   uint8
	size   int // what the asker takes by UDP

	nameLen int
	labels  int // without the root's
	buf     [maxName + 3]byte
}

// name is the question's, in wire form and lower case.
func (q *query) name() []byte { return q.buf[:q.nameLen] }

// key is everything that an answer of others depends on: name, type, and whether DNSSEC is wanted.
func (q *query) key() []byte { return q.buf[:q.nameLen+3] }

func (q *query) cd() bool { return q.flags&flagCD != 0 }

// verdict says what becomes of a message that parse has seen.
type verdict uint8

const (
	answerable verdict = iota
	refuse             // with the code that parse gives
	ignore             // no answer at all: it is none of a question
)

// parse takes a message apart. After refuse, end says how far the question is good to be repeated (0: not at all).
func (q *query) parse(msg []byte) (verdict, rcode) {
	q.end, q.edns, q.do, q.vers, q.size, q.nameLen = 0, false, false, 0, minUDP, 0
	if len(msg) < headerLen {
		return ignore, 0
	}
	q.flags = binary.BigEndian.Uint16(msg[2:])
	if q.flags&flagQR != 0 {
		return ignore, 0 // answering answers makes loops
	}
	if q.flags&opcodeMask != 0 {
		return refuse, rcodeNotImpl
	}
	counts := binary.BigEndian.Uint64(msg[4:])
	if counts>>48 != 1 || counts<<16>>32 != 0 { // one question (RFC 9619), no answers, no authority
		return refuse, rcodeFormat
	}
	off, ok := q.question(msg)
	if !ok {
		return refuse, rcodeFormat
	}
	if additional := int(counts & 0xffff); additional > 0 {
		if off, ok = q.additional(msg, off, additional); !ok {
			return refuse, rcodeFormat
		}
	}
	if off != len(msg) {
		return refuse, rcodeFormat
	}
	if q.vers != 0 {
		return refuse, rcodeBadVers
	}
	q.buf[q.nameLen+2] = 0
	if q.do {
		q.buf[q.nameLen+2] = keyDO
	}
	if q.cd() {
		q.buf[q.nameLen+2] |= keyCD
	}
	return answerable, 0
}

// question reads name, type and class. Names in questions cannot be compressed: there is nothing before them.
func (q *query) question(msg []byte) (int, bool) {
	off, n := headerLen, 0
	q.labels = 0
	for {
		if off >= len(msg) {
			return 0, false
		}
		l := int(msg[off])
		if l == 0 {
			q.buf[n] = 0
			n, off = n+1, off+1
			break
		}
		if l > maxLabel || n+l+2 > maxName || off+1+l > len(msg) {
			return 0, false
		}
		q.buf[n] = byte(l)
		for i, c := range msg[off+1 : off+1+l] {
			if c-'A' < 26 {
				c |= 0x20
			}
			q.buf[n+1+i] = c
		}
		n, off = n+1+l, off+1+l
		q.labels++
	}
	if off+4 > len(msg) {
		return 0, false
	}
	q.nameLen = n
	q.buf[n], q.buf[n+1] = msg[off], msg[off+1]
	q.qtype = binary.BigEndian.Uint16(msg[off:])
	q.qclass = binary.BigEndian.Uint16(msg[off+2:])
	q.end = off + 4
	return q.end, true
}

// additional walks over the additional records, of which only one OPT means anything here (RFC 6891, section 6.1.1).
func (q *query) additional(msg []byte, off, count int) (int, bool) {
	for range count {
		owner := off
		var ok bool
		if off, ok = skipName(msg, off); !ok || off+10 > len(msg) {
			return 0, false
		}
		length := int(binary.BigEndian.Uint16(msg[off+8:]))
		if off+10+length > len(msg) {
			return 0, false
		}
		if binary.BigEndian.Uint16(msg[off:]) == typeOPT {
			if q.edns || msg[owner] != 0 || !goodOptions(msg[off+10:off+10+length]) {
				return 0, false
			}
			q.edns = true
			q.size = max(int(binary.BigEndian.Uint16(msg[off+2:])), minUDP)
			q.vers = msg[off+5]
			q.do = binary.BigEndian.Uint16(msg[off+6:])&ednsDO != 0
		}
		off += 10 + length
	}
	return off, true
}

func goodOptions(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 4 {
			return false
		}
		l := int(binary.BigEndian.Uint16(b[2:]))
		if 4+l > len(b) {
			return false
		}
		b = b[4+l:]
	}
	return true
}

// skipName finds the end of a name without following its pointer.
func skipName(msg []byte, off int) (int, bool) {
	for off < len(msg) {
		switch l := int(msg[off]); {
		case l == 0:
			return off + 1, true
		case l >= 0xc0:
			return off + 2, off+2 <= len(msg)
		case l > maxLabel:
			return 0, false
		default:
			off += 1 + l
		}
	}
	return 0, false
}
