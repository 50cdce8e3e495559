package dns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func dialTCP(t *testing.T, at netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func framed(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func readFramed(t *testing.T, c net.Conn) *dns.Msg {
	t.Helper()
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	return m
}

// Queries of one connection do not wait for each other (RFC 7766, section 6.2.1.1), and who closes his half still gets
// all answers.
func TestPipelining(t *testing.T) {
	release := make(chan struct{})
	u := serveUpstream(t, func(w dns.ResponseWriter, m *dns.Msg) { <-release; good(t)(w, m) })
	c := withUpstreams(testConfig(), u)
	conn := dialTCP(t, run(t, newServer(t, c)))
	var out []byte
	slow := question1("slow.example.org", dns.TypeA)
	out = append(out, framed(t, slow)...)
	waiting := map[uint16]string{}
	for i := range 100 {
		m := question1([]string{"ws-u1.webspace", "nobody.webspace", "1.1.24.172.in-addr.arpa"}[i%3], dns.TypeA)
		m.Id = uint16(1000 + i)
		waiting[m.Id] = m.Question[0].Name
		out = append(out, framed(t, m)...)
	}
	for len(out) > 0 { // in pieces that respect no bounds
		n := min(len(out), 37)
		if _, err := conn.Write(out[:n]); err != nil {
			t.Fatal(err)
		}
		out = out[n:]
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		r := readFramed(t, conn)
		if waiting[r.Id] != r.Question[0].Name {
			t.Errorf("%d: %v", r.Id, r)
		}
		delete(waiting, r.Id)
	}
	close(release)
	if r := readFramed(t, conn); r.Id != slow.Id || len(r.Answer) != 1 {
		t.Error(r)
	}
	if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Error("more than was asked for:", n, err)
	}
}

// Whatever comes by a connection, the next one is served.
func TestHostileConnections(t *testing.T) {
	at := run(t, newServer(t, testConfig()))
	good := framed(t, question1("ws-u1.webspace", dns.TypeA))
	for name, c := range map[string]struct {
		send    string
		answers int
	}{
		"no length":           {"\x00", 0},
		"length 0":            {"\x00\x00", 0},
		"a short message":     {"\x00\x05hello", 0},
		"nonsense":            {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0},
		"an answer":           {"\x00\x0c\x12\x34\x81\x80\x00\x00\x00\x00\x00\x00\x00\x00", 0},
		"half":                {string(good[:len(good)-3]), 0},
		"malformed, and good": {"\x00\x0c\x12\x34\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00" + string(good), 2},
		"the longest":         {"\xff\xff" + string(good[2:]) + strings.Repeat("x", 65535-len(good)+2) + string(good), 2},
	} {
		conn := dialTCP(t, at)
		if _, err := conn.Write([]byte(c.send)); err != nil {
			t.Fatal(name, err)
		}
		_ = conn.(*net.TCPConn).CloseWrite() // it may be closed by now
		for range c.answers {
			readFramed(t, conn)
		}
		if n, _ := conn.Read(make([]byte, 1)); n != 0 {
			t.Errorf("%s: an answer too many", name)
		}
	}
	if r := exchange(t, "tcp", at, question1("ws-u1.webspace", dns.TypeA)); len(r.Answer) != 1 {
		t.Error(r)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	c := testConfig()
	c.TCP = 3
	s := newServer(t, c)
	at := run(t, s)
	var open []net.Conn
	for i := range 3 {
		conn := dialTCP(t, at)
		if _, err := conn.Write(framed(t, question1("ws-u1.webspace", dns.TypeA))); err != nil {
			t.Fatal(err)
		}
		readFramed(t, conn)
		open = append(open, conn)
		if n := s.Stats().Connections; n != i+1 {
			t.Errorf("%d connections, want %d", n, i+1)
		}
	}
	if fourth, err := net.Dial("tcp4", at.String()); err == nil { // or it is reset before Dial sees it
		_ = fourth.SetDeadline(time.Now().Add(patience))
		if n, err := fourth.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("one too many is served", n, err)
		}
		fourth.Close()
	}
	open[0].Close()
	eventually(t, "its place is free", func() bool { return s.Stats().Connections == 2 })
	if r := exchange(t, "tcp", at, question1("ws-u1.webspace", dns.TypeA)); len(r.Answer) != 1 {
		t.Error(r)
	}
}

// Who takes no answers loses the connection before they fill the memory.
func TestAnswersThatNobodyTakes(t *testing.T) {
	s := newServer(t, testConfig())
	ours, theirs := net.Pipe()
	defer theirs.Close()
	v := &conversation{s: s, conn: ours, more: make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() { defer close(done); v.write() }()
	queued := 0
	for v.put(make([]byte, 60000)) {
		if queued++; queued > 10 {
			t.Fatal("answers are queued without bound")
		}
	}
	<-done
	if s.Stats().Dropped[string(DropSlow)] == 0 {
		t.Error("not counted")
	}
	if v.put([]byte{1}) {
		t.Error("queued after the end")
	}
}

// A name is kept in lower case.
func ExampleParseRecord() {
	r, err := ParseRecord("Printer=172.24.0.9")
	fmt.Println(r.Name, r.IP, err)
	// Output: printer 172.24.0.9 <nil>
}
