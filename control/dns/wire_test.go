package dns

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// raw builds a query by hand: header words, then whatever follows.
func raw(flags, qd, an, ns, ar uint16, rest ...string) []byte {
	b := []byte{0x12, 0x34}
	for _, v := range []uint16{flags, qd, an, ns, ar} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return append(b, strings.Join(rest, "")...)
}

const (
	wireNames = "\x05ws-u1\x08webspace\x00"
	wireA     = "\x00\x01\x00\x01"
)

func opt(size uint16, version, flags byte, options string) string {
	b := []byte{0, 0, typeOPT, byte(size >> 8), byte(size), 0, version, flags, 0}
	return string(binary.BigEndian.AppendUint16(b, uint16(len(options)))) + options
}

func TestMessages(t *testing.T) {
	s := newServer(t, testConfig())
	label63 := "\x3f" + strings.Repeat("x", 63)
	longest := strings.Repeat(label63, 3) + "\x3d" + strings.Repeat("y", 61) + "\x00" // 255 octets
	const ignored = -1
	for _, c := range []struct {
		name string
		msg  []byte
		code int
	}{
		{"a question", raw(0x0100, 1, 0, 0, 0, wireNames, wireA), 0},
		{"reserved bits", raw(0x0170, 1, 0, 0, 0, wireNames, wireA), 0},
		{"nothing", nil, ignored},
		{"eleven octets", raw(0x0100, 1, 0, 0, 0)[:11], ignored},
		{"an answer", raw(0x8100, 1, 0, 0, 0, wireNames, wireA), ignored},
		{"an answer that is malformed", raw(0x8100, 9, 9, 9, 9), ignored},
		{"only a header", raw(0x0100, 0, 0, 0, 0), 1},
		{"no question, a cookie (RFC 7873)", raw(0x0100, 0, 0, 0, 1, opt(1232, 0, 0, "\x00\x0a\x00\x08abcdefgh")), 1},
		{"two questions (RFC 9619)", raw(0x0100, 2, 0, 0, 0, wireNames, wireA, wireNames, wireA), 1},
		{"65535 questions", raw(0x0100, 65535, 0, 0, 0, wireNames, wireA), 1},
		{"an answer section", raw(0x0100, 1, 1, 0, 0, wireNames, wireA, wireNames, wireA, "\x00\x00\x00\x00\x00\x00"), 1},
		{"an authority section", raw(0x0100, 1, 0, 1, 0, wireNames, wireA, wireNames, wireA, "\x00\x00\x00\x00\x00\x00"), 1},
		{"inverse query", raw(0x0900, 1, 0, 0, 0, wireNames, wireA), 4},
		{"status", raw(0x1100, 1, 0, 0, 0, wireNames, wireA), 4},
		{"notify", raw(0x2100, 1, 0, 0, 0, wireNames, wireA), 4},
		{"update (RFC 2136)", raw(0x2800, 1, 1, 1, 0, wireNames, wireA), 4},
		{"a pointer to itself", raw(0x0100, 1, 0, 0, 0, "\xc0\x0c", wireA), 1},
		{"a pointer to the header", raw(0x0100, 1, 0, 0, 0, "\x01a\xc0\x00", wireA), 1},
		{"a label of the reserved kind 01", raw(0x0100, 1, 0, 0, 0, "\x41\x00", wireA), 1},
		{"a label of the reserved kind 10", raw(0x0100, 1, 0, 0, 0, "\x81\x00", wireA), 1},
		{"a label of 64 octets", raw(0x0100, 1, 0, 0, 0, "\x40"+strings.Repeat("x", 64)+"\x00", wireA), 1},
		{"the longest name", raw(0x0000, 1, 0, 0, 0, longest, wireA), 5},
		{"a name of 256 octets", raw(0x0100, 1, 0, 0, 0, strings.Repeat(label63, 3)+"\x3e"+strings.Repeat("y", 62)+"\x00", wireA), 1},
		{"a name without end", raw(0x0100, 1, 0, 0, 0, strings.Repeat("\x01a", 400)), 1},
		{"any octet in a name", raw(0x0100, 1, 0, 0, 0, "\x05\x00.\xff\x01\\\x08webspace\x00", wireA), 3},
		{"octets behind the end", raw(0x0100, 1, 0, 0, 0, wireNames, wireA, "x"), 1},
		{"class CHAOS", raw(0x0100, 1, 0, 0, 0, "\x07version\x04bind\x00", "\x00\x10\x00\x03"), 5},
		{"class ANY", raw(0x0100, 1, 0, 0, 0, wireNames, "\x00\x01\x00\xff"), 5},
		{"class NONE", raw(0x0100, 1, 0, 0, 0, wireNames, "\x00\x01\x00\xfe"), 5},
		{"class 0", raw(0x0100, 1, 0, 0, 0, wireNames, "\x00\x01\x00\x00"), 5},
		{"AXFR", raw(0x0100, 1, 0, 0, 0, "\x08webspace\x00", "\x00\xfc\x00\x01"), 5},
		{"IXFR", raw(0x0100, 1, 0, 0, 0, "\x08webspace\x00", "\x00\xfb\x00\x01"), 5},
		{"MAILB", raw(0x0100, 1, 0, 0, 0, wireNames, "\x00\xfd\x00\x01"), 4},
		{"TKEY", raw(0x0100, 1, 0, 0, 0, wireNames, "\x00\xf9\x00\x01"), 4},
		{"type OPT", raw(0x0100, 1, 0, 0, 0, wireNames, "\x00\x29\x00\x01"), 1},
		{"type 0", raw(0x0100, 1, 0, 0, 0, wireNames, "\x00\x00\x00\x01"), 1},
		{"type 65535", raw(0x0100, 1, 0, 0, 0, wireNames, "\xff\xff\x00\x01"), 0},
		{"ANY", raw(0x0100, 1, 0, 0, 0, wireNames, "\x00\xff\x00\x01"), 0},
		{"outside, and no recursion wanted", raw(0x0000, 1, 0, 0, 0, "\x07example\x03org\x00", wireA), 5},
		{"EDNS", raw(0x0100, 1, 0, 0, 1, wireNames, wireA, opt(1232, 0, 0, "")), 0},
		{"EDNS and DO", raw(0x0100, 1, 0, 0, 1, wireNames, wireA, opt(4096, 0, 0x80, "")), 0},
		{"EDNS of 0 octets", raw(0x0100, 1, 0, 0, 1, wireNames, wireA, opt(0, 0, 0, "")), 0},
		{"EDNS with an unknown option", raw(0x0100, 1, 0, 0, 1, wireNames, wireA, opt(1232, 0, 0, "\xfd\xe9\x00\x02ab")), 0},
		{"EDNS with a cookie and a client subnet", raw(0x0100, 1, 0, 0, 1, wireNames, wireA, opt(1232, 0, 0, "\x00\x0a\x00\x08abcdefgh\x00\x08\x00\x04\x00\x01\x00\x00")), 0},
		{"EDNS version 1", raw(0x0100, 1, 0, 0, 1, wireNames, wireA, opt(1232, 1, 0, "")), 16},
		{"EDNS version 255", raw(0x0100, 1, 0, 0, 1, wireNames, wireA, opt(1232, 255, 0, "")), 16},
		{"EDNS twice", raw(0x0100, 1, 0, 0, 2, wireNames, wireA, opt(1232, 0, 0, ""), opt(1232, 0, 0, "")), 1},
		{"EDNS with an owner", raw(0x0100, 1, 0, 0, 1, wireNames, wireA, "\x01x"+opt(1232, 0, 0, "")), 1},
		{"EDNS with half an option", raw(0x0100, 1, 0, 0, 1, wireNames, wireA, opt(1232, 0, 0, "\x00\x0a\x00")), 1},
		{"EDNS with too long an option", raw(0x0100, 1, 0, 0, 1, wireNames, wireA, opt(1232, 0, 0, "\x00\x0a\x00\x09abcdefgh")), 1},
		{"EDNS that is cut off", raw(0x0100, 1, 0, 0, 1, wireNames, wireA, opt(1232, 0, 0, "abcdefgh")[:15]), 1},
		{"an additional record that is missing", raw(0x0100, 1, 0, 0, 1, wireNames, wireA), 1},
		{"65535 additional records", raw(0x0100, 1, 0, 0, 65535, wireNames, wireA, opt(1232, 0, 0, "")), 1},
		{"another additional record", raw(0x0100, 1, 0, 0, 2, wireNames, wireA, "\xc0\x0c"+wireA+"\x00\x00\x00\x00\x00\x04abcd", opt(1232, 0, 0, "")), 0},
		{"two datagrams' worth", append(raw(0x0100, 1, 0, 0, 1, wireNames, wireA), make([]byte, longestQuery)...), 1},
	} {
		got := rawLocal(s, c.msg)
		if c.code == ignored {
			if got != nil {
				t.Errorf("%s: answered %x", c.name, got)
			}
			continue
		}
		checkAnswer(t, c.name, c.msg, got)
		var m dns.Msg
		if err := m.Unpack(got); err != nil {
			t.Errorf("%s: %v in %x", c.name, err, got)
			continue
		}
		if o := m.IsEdns0(); o != nil && (o.Version() != 0 || o.UDPSize() != safeUDP) {
			t.Errorf("%s: OPT %v", c.name, o)
		}
		if m.Rcode != c.code { // with the extended bits
			t.Errorf("%s: code %d, want %d: %v", c.name, m.Rcode, c.code, &m)
		}
		if asked := bytes.Contains(c.msg, []byte(opt(1232, 0, 0, "")[:3])); c.code != 1 && asked != (m.IsEdns0() != nil) {
			t.Errorf("%s: EDNS in the question %v, in the answer %v", c.name, asked, m.IsEdns0() != nil)
		}
	}
}

// checkAnswer checks what must hold for each answer to each message.
func checkAnswer(t *testing.T, name string, msg, got []byte) {
	t.Helper()
	switch {
	case len(got) < headerLen || len(got) > safeUDP:
		t.Errorf("%s: an answer of %d octets", name, len(got))
	case got[0] != msg[0] || got[1] != msg[1]:
		t.Errorf("%s: id %x", name, got[:2])
	case got[2]&0x80 == 0 || got[2]&0x79 != msg[2]&0x79 || got[3]&0x80 == 0 || got[3]&0x60 != 0 || got[3]&0x10 != msg[3]&0x10:
		t.Errorf("%s: flags %x for %x", name, got[2:4], msg[2:4])
	case got[5] == 1:
		end, ok := skipName(msg, headerLen)
		if !ok || end+4 > len(got) || !bytes.Equal(got[headerLen:end+4], msg[headerLen:end+4]) {
			t.Errorf("%s: the question %x came back as %x", name, msg, got)
		}
	}
}

// Every beginning of a good message is no good message, and is answered as such.
func TestCutMessages(t *testing.T) {
	s := newServer(t, testConfig())
	whole := raw(0x0100, 1, 0, 0, 1, wireNames, wireA, opt(1232, 0, 0x80, "\x00\x0a\x00\x08abcdefgh"))
	for n := range whole {
		got := rawLocal(s, whole[:n])
		if n < headerLen {
			if got != nil {
				t.Errorf("%d octets are answered", n)
			}
			continue
		}
		checkAnswer(t, "cut", whole[:n], got)
		if got[3]&0xf != byte(rcodeFormat) {
			t.Errorf("%d octets: code %d", n, got[3]&0xf)
		}
	}
}

// An answer fits into what the asker takes, and what it takes is bounded by what passes without fragments.
func TestSizes(t *testing.T) {
	var q query
	records := make([]byte, 2000)
	for _, c := range []struct {
		size    uint16 // 0: no EDNS
		records int
		cut     bool
	}{{0, 512 - 32, false}, {0, 512 - 31, true}, {100, 512 - 32 - 11, false}, {100, 512 - 31 - 11, true}, {1232, 1232 - 32 - 11, false},
		{1232, 1232 - 31 - 11, true}, {4096, 1300, true}, {65535, 1300, true}} {
		msg := raw(0x0100, 1, 0, 0, 0, wireNames, wireA)
		if c.size > 0 {
			msg = raw(0x0100, 1, 0, 0, 1, wireNames, wireA, opt(c.size, 0, 0, ""))
		}
		if v, _ := q.parse(msg); v != answerable {
			t.Fatal(v)
		}
		got := q.write(make([]byte, safeUDP), msg, &body{an: 1, records: records[:c.records]}, q.limit())
		if cut := got[2]&2 != 0; cut != c.cut || len(got) > max(512, min(int(c.size), safeUDP)) || cut && got[7] != 0 {
			t.Errorf("%+v: an answer of %d octets, cut off %v", c, len(got), cut)
		}
	}
}
