package dns

import (
	"testing"

	"github.com/miekg/dns"
)

// FuzzQuery throws messages at the server: it never panics, and what it answers is well-formed and belongs to the message.
func FuzzQuery(f *testing.F) {
	for _, m := range [][]byte{
		raw(0x0100, 1, 0, 0, 0, wireNames, wireA), raw(0x0100, 1, 0, 0, 1, wireNames, wireA, opt(1232, 0, 0x80, "\x00\x0a\x00\x08abcdefgh")),
		raw(0x0100, 1, 0, 0, 0, "\x011\x011\x0224\x03172\x07in-addr\x04arpa\x00", "\x00\x0c\x00\x01"), raw(0x2800, 1, 1, 1, 0, wireNames, wireA),
		raw(0x0100, 1, 0, 0, 0, "\xc0\x0c", wireA), raw(0x0110, 1, 0, 0, 0, "\x07example\x03org\x00", wireA),
	} {
		f.Add(m)
	}
	s := newServer(f, testConfig())
	e, err := s.digest(newQuestion("\x07example\x03org\x00\x00\x01\x00"), exampleAnswer(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		s.cache.put(e)
		got := rawLocal(s, msg)
		if got == nil {
			return
		}
		checkAnswer(t, "fuzz", msg, got)
		var m dns.Msg
		if err := m.Unpack(got); err != nil {
			t.Errorf("%v: %x for %x", err, got, msg)
		}
	})
}

func exampleAnswer(t testing.TB) []byte {
	m := question1("example.org", dns.TypeA)
	b, err := answering(t, m, "example.org. 300 IN CNAME www.example.org.", "www.example.org. 300 IN A 192.0.2.1").Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzDigest throws messages of upstreams at the part that believes them: what is kept is well-formed, for the question
// that was asked, and leads nowhere inside.
func FuzzDigest(f *testing.F) {
	f.Add(exampleAnswer(f), uint16(1), byte(0))
	f.Add(raw(0x8180, 1, 0, 1, 0, "\x07example\x03org\x00", wireA, "\xc0\x0c\x00\x06\x00\x01\x00\x00\x0e\x10\x00\x18\x01a\xc0\x0c\x01b\xc0\x0c\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01"), uint16(1), byte(1))
	s := newServer(f, testConfig())
	f.Fuzz(func(t *testing.T, msg []byte, qtype uint16, bits byte) {
		key := "\x07example\x03org\x00" + string([]byte{byte(qtype >> 8), byte(qtype), bits & 3})
		e, err := s.digest(newQuestion(key), msg)
		if err != nil {
			return
		}
		ask := raw(0x0100, 1, 0, 0, 0, "\x07example\x03org\x00", key[len(key)-3:len(key)-1], "\x00\x01")
		var q query
		if v, _ := q.parse(ask); v != answerable {
			t.Fatal(v)
		}
		got := e.write(&q, make([]byte, maxTCP+1024), ask, maxTCP, e.born+5e9)
		var m dns.Msg
		if err := m.Unpack(got); err != nil {
			t.Fatalf("%v: %x from %x", err, got, msg)
		}
		for _, rr := range m.Answer {
			if a, ok := rr.(*dns.A); ok && qtype == 1 && len(a.A) == 4 && a.A[0] == 172 && a.A[1] == 24 {
				t.Errorf("it leads inside: %v", &m)
			}
		}
	})
}
