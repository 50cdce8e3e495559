package dns

import (
	"encoding/binary"
	"flag"
	"fmt"
	"runtime"
	"testing"

	"github.com/miekg/dns"
)

// flood puts so many distinct names through digest and cache, as questions about them would.
func flood(t testing.TB, s *Server, from, names int) {
	m := question1("0000000000.flood.example.org", dns.TypeA)
	wire, err := answering(t, m, "0000000000.flood.example.org. 300 IN A 192.0.2.1").Pack()
	if err != nil {
		t.Fatal(err)
	}
	key := []byte("\x0a0000000000\x05flood\x07example\x03org\x00\x00\x01\x00")
	digits := make([]byte, 0, 16)
	for i := from; i < from+names; i++ {
		digits = fmt.Appendf(digits[:0], "%010d", i)
		copy(key[1:], digits)
		copy(wire[headerLen+1:], digits) // the answer's owner is a pointer to it, or is replaced below
		e, err := s.digest(newQuestion(string(key)), wire)
		if err != nil {
			t.Fatal(err)
		}
		s.cache.put(e)
	}
}

var floodNames = flag.Int("flood", 0, "how many distinct names TestFlatMemory has digested; 0: few of them, and many copies")

// The cache's memory is flat, however many distinct names are asked for. The benchmark does the same with ten million.
func TestFlatMemory(t *testing.T) {
	c := testConfig()
	c.Cache = 4 << 20
	s := newServer(t, c)
	// One entry is digested; the flood is of copies, so that the test stays short.
	flood(t, s, 0, 2000)
	key := "\x0a0000000000\x05flood\x07example\x03org\x00\x00\x01\x00"
	model := s.cache.get([]byte(key), s.now())
	if model == nil {
		t.Fatal("the first name is not in the cache")
	}
	highest := uint64(0)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		highest = max(highest, m.HeapAlloc)
		return m.HeapAlloc
	}
	before := heap()
	for i := range 300_000 {
		b := []byte(key)
		binary.BigEndian.PutUint64(b[1:], uint64(i)) // any octets are a label
		s.cache.put(&entry{key: string(b), body: body{an: 1, records: append([]byte(nil), model.records...)}, ttls: append([]uint16(nil), model.ttls...),
			born: model.born, expires: model.expires})
	}
	for done := 0; done < *floodNames; done += *floodNames / 10 {
		flood(t, s, done, *floodNames/10)
		heap()
		t.Logf("%d names: %d bytes of heap at most", done+*floodNames/10, highest)
	}
	entries, bytes := s.cache.size()
	if bytes > c.Cache || entries < c.Cache/2/400 {
		t.Errorf("%d entries, %d bytes of %d", entries, bytes, c.Cache)
	}
	heap()
	if grown := int64(highest) - int64(before); grown > int64(c.Cache)*3/2 {
		t.Errorf("the heap grew by %d bytes, with %d counted", grown, bytes)
	}
	runtime.KeepAlive(s)
}

// What is asked for stays; what nobody asks for goes.
func TestUsedEntriesStay(t *testing.T) {
	c := testConfig()
	c.Cache = 1 << 20
	s := newServer(t, c)
	put := func(name string) []byte {
		key := append(wireName(name), 0, 1, 0)
		s.cache.put(&entry{key: string(key), born: 1, expires: 1e15, body: body{an: 1, records: make([]byte, 100)}})
		return key
	}
	used := put("used.example.org")
	unused := put("unused.example.org")
	for i := range 20_000 {
		put(fmt.Sprintf("n%d.example.org", i))
		if s.cache.get(used, 2) == nil {
			t.Fatal("a used name is gone after", i)
		}
	}
	if s.cache.get(unused, 2) != nil {
		t.Error("a name that nobody asked for is still there")
	}
	if s.cache.get(used, 1e15) != nil {
		t.Error("a name is served after its time")
	}
	s.cache.put(&entry{key: "x", born: 1, expires: 1e15, body: body{records: make([]byte, maxEntry+1)}})
	if s.cache.get([]byte("x"), 2) != nil {
		t.Error("too long an answer is kept")
	}
}
