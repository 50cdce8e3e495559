package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// kept is a service manager's store: it holds its own copies.
type kept struct {
	mu    sync.Mutex
	files map[string]*os.File
}

func (k *kept) Take(name string) *os.File {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.files[name] == nil {
		return nil
	}
	return duplicate(k.files[name])
}

func (k *kept) Keep(name string, f *os.File) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.files[name] = duplicate(f)
	return nil
}

func duplicate(f *os.File) *os.File {
	raw, err := f.SyscallConn() // Fd would make the socket blocking, for all who share it
	if err != nil {
		panic(err)
	}
	copied := -1
	if e := raw.Control(func(fd uintptr) { copied, err = syscall.Dup(int(fd)) }); e != nil || err != nil {
		panic(fmt.Sprint(e, err))
	}
	return os.NewFile(uintptr(copied), f.Name())
}

// Under a flood of queries the server is replaced again and again. Queries wait in the kept socket; each asker, who
// repeats as resolvers do, is answered. How long the longest pause was is only told: it is the machine's.
func TestRestartUnderLoad(t *testing.T) {
	store := &kept{files: map[string]*os.File{}}
	defer func() {
		for _, f := range store.files {
			f.Close()
		}
	}()
	c := testConfig()
	c.Sockets = store
	start := func(c Config) (*Server, func()) {
		s := newServer(t, c)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		eventually(t, "it listens", s.Running)
		return s, func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	s, stop := start(c)
	at := *s.bound.Load()
	c.Listen = at // the next one has the same configuration

	var asked, lost, longest atomic.Int64
	over := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			conn, err := net.Dial("udp4", at.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			wire, err := question1("ws-u1.webspace", dns.TypeA).Pack()
			if err != nil {
				t.Error(err)
				return
			}
			buf := make([]byte, 512)
			for {
				select {
				case <-over:
					return
				default:
				}
				began := time.Now()
				for {
					if _, err := conn.Write(wire); err != nil {
						t.Error("the socket was closed meanwhile:", err)
						return
					}
					asked.Add(1)
					_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
					if n, err := conn.Read(buf); err == nil && n > headerLen && buf[7] == 1 {
						break
					}
					lost.Add(1)
					if time.Since(began) > patience {
						t.Error("no answer, however often it was asked")
						return
					}
				}
				if took := int64(time.Since(began)); took > longest.Load() {
					longest.Store(took)
				}
			}
		})
	}
	const rounds = 5
	for range rounds {
		before := asked.Load()
		eventually(t, "queries flow", func() bool { return asked.Load() > before+500 })
		stop()
		_, stop = start(c)
	}
	before := asked.Load()
	eventually(t, "queries flow", func() bool { return asked.Load() > before+500 })
	close(over)
	all.Wait()
	if r := exchange(t, "tcp", at, question1("ws-u1.webspace", dns.TypeA)); len(r.Answer) != 1 {
		t.Error(r)
	}
	stop()
	t.Logf("%d queries over %d restarts: %d lost, the longest pause %v", asked.Load(), rounds, lost.Load(), time.Duration(longest.Load()))
}

// A socket that was kept for another address is not taken for ours.
func TestOtherSocketsAreNotTaken(t *testing.T) {
	store := &kept{files: map[string]*os.File{}}
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	f, err := other.File()
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	store.files[socketUDP], store.files[socketTCP] = f, null
	defer func() {
		for _, f := range store.files {
			f.Close()
		}
	}()
	c := testConfig()
	c.Sockets = store
	at := run(t, newServer(t, c))
	if r := exchange(t, "udp", at, question1("ws-u1.webspace", dns.TypeA)); len(r.Answer) != 1 {
		t.Error(r)
	}
	if store.files[socketUDP] == f || store.files[socketTCP] == null {
		t.Error("the new sockets are not kept")
	}
}

// The address may be taken for a while: the server comes when it is free.
func TestAddressInUse(t *testing.T) {
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig()
	c.Listen = other.LocalAddr().(*net.UDPAddr).AddrPort()
	s := newServer(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	if s.Running() {
		t.Error("it says that it runs")
	}
	other.Close()
	eventually(t, "it listens", s.Running)
	if r := exchange(t, "udp", netip.AddrPortFrom(c.Listen.Addr(), c.Listen.Port()), question1("ws-u1.webspace", dns.TypeA)); len(r.Answer) != 1 {
		t.Error(r)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A new daemon that knows nothing yet leaves queries in the socket that it was given: who asks is answered later, and not
// told that the zone is not ready.
func TestSettle(t *testing.T) {
	store := &kept{files: map[string]*os.File{}}
	t.Cleanup(func() {
		for _, f := range store.files {
			f.Close()
		}
	})
	before, err := openUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	at := before.addr()
	f, err := before.File()
	before.close()
	if err != nil {
		t.Fatal(err)
	}
	store.files[socketUDP] = f

	c := testConfig()
	c.Listen, c.Sockets, c.Settle = at, store, time.Hour
	s, err := New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	client, err := net.Dial("udp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	wire, err := question1("ws-u1.webspace", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(wire); err != nil {
		t.Fatal(err)
	}
	if s.Running() {
		t.Error("it answers before it knows anything")
	}
	s.SetRecords(testRecords)
	buf := make([]byte, 512)
	_ = client.SetReadDeadline(time.Now().Add(patience))
	n, err := client.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	r := new(dns.Msg)
	if err := r.Unpack(buf[:n]); err != nil || r.Rcode != dns.RcodeSuccess || len(r.Answer) != 1 {
		t.Error(err, r)
	}
}
