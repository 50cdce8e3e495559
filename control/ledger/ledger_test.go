package ledger

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// running gives a ledger whose Run runs until the test ends, or stop is called.
func running(t *testing.T, o Options) (l *Ledger, stop func()) {
	t.Helper()
	if o.File == "" {
		o.File = filepath.Join(t.TempDir(), "deep", "ledger.db")
	}
	l = New(o, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	flush(t, l)
	return l, stop
}

func flush(t *testing.T, l *Ledger) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func record(uid, n int) Record {
	return Record{UID: uid, Instance: fmt.Sprintf("ws-u%d", uid), Kind: Wake, Outcome: Done, Time: time.Unix(int64(n), 0).UTC(),
		Cause: Cause{Via: Forward, Peer: netip.MustParseAddrPort("192.0.2.7:4711"), Proto: "tcp", Port: 80}, Took: time.Duration(n)}
}

func took(p Page) []int {
	var out []int
	for _, r := range p.Records {
		out = append(out, int(r.Took))
	}
	return out
}

func TestNewestFirstByPages(t *testing.T) {
	l, _ := running(t, Options{})
	for n := 1; n <= 10; n++ {
		l.Add(record(n%2, n))
	}
	flush(t, l)
	var got []int
	for before, page := uint64(0), 0; ; page++ {
		p, err := l.Of(1, before, 2)
		if err != nil || page > 5 {
			t.Fatal(err, page)
		}
		got = append(got, took(p)...)
		if before = p.Next; before == 0 {
			break
		}
	}
	if !slices.Equal(got, []int{9, 7, 5, 3, 1}) {
		t.Error(got)
	}
	all, err := l.All(0, 3)
	if err != nil || !slices.Equal(took(all), []int{10, 9, 8}) || all.Next == 0 {
		t.Error(took(all), all.Next, err)
	}
	if p, err := l.Of(7, 0, 0); err != nil || len(p.Records) != 0 || p.Next != 0 {
		t.Error(p, err)
	}
	if p, err := l.Of(1, 1, 0); err != nil || len(p.Records) != 0 || p.Next != 0 {
		t.Error(p, err)
	}
}

func TestEverythingIsKept(t *testing.T) {
	l, stop := running(t, Options{})
	want := Record{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), UID: 3, Instance: "ws-u3", Kind: Wake,
		Cause: Cause{Via: Forward, Peer: netip.MustParseAddrPort("192.0.2.7:4711"), Proto: "udp", Port: 53,
			External: netip.MustParseAddrPort("198.51.100.1:64000"), Detail: "why"},
		Outcome: Failed, Error: "it did not", Took: time.Second,
		Split: Split{1, 2, 3, 4, 5, 6}, Held: 7, Dropped: 8,
	}
	l.Add(want)
	flush(t, l)
	stop()
	again, _ := running(t, l.o)
	p, err := again.Of(3, 0, 0)
	if err != nil || len(p.Records) != 1 {
		t.Fatal(p, err)
	}
	want.ID = 1
	if p.Records[0] != want {
		t.Errorf("%+v\nwant %+v", p.Records[0], want)
	}
}

// One webspace that is woken all day must not push out what is known of the others.
func TestBounds(t *testing.T) {
	l, _ := running(t, Options{PerWebspace: 5, Total: 12})
	l.Add(record(1, 1))
	for n := 2; n <= 50; n++ {
		l.Add(record(2, n))
	}
	flush(t, l)
	if p, err := l.All(0, 0); err != nil || !slices.Equal(took(p), []int{50, 49, 48, 47, 46, 1}) {
		t.Fatal(took(p), err)
	}
	if all, err := l.AllWoken(); err != nil || all[2] != 49 {
		t.Error(all, err)
	}
	if n, err := l.Woken(2); err != nil || n != 49 {
		t.Error(n, err)
	}
	for n := 51; n <= 60; n++ {
		l.Add(record(n, n))
	}
	flush(t, l)
	p, err := l.All(0, 0)
	if err != nil || !slices.Equal(took(p), []int{60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49}) {
		t.Fatal(took(p), err)
	}
	if p, err := l.Of(1, 0, 0); err != nil || len(p.Records) != 0 {
		t.Error(p, err)
	}
	if p, err := l.Of(2, 0, 0); err != nil || !slices.Equal(took(p), []int{50, 49}) {
		t.Error(took(p), err)
	}
}

func TestNothingBlocksWithoutAFile(t *testing.T) {
	l := New(Options{File: filepath.Join(t.TempDir(), "x"), Queue: 3}, nil)
	for n := range 10 {
		l.Add(record(1, n))
	}
	if s := l.Sums(); s.Lost != 7 || s.Events[Event{Wake, Forward, Done}] != 10 {
		t.Errorf("%+v", s)
	}
	var p *Problem
	if _, err := l.All(0, 0); !errors.As(err, &p) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What could not be written is written by the next Run.
func TestRecordsWaitForAFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "folder")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := New(Options{File: filepath.Join(name, "ledger.db")}, nil)
	l.Add(record(1, 1))
	if err := l.Run(t.Context()); err == nil {
		t.Fatal("a folder that is a file was used")
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	flush(t, l)
	if p, err := l.All(0, 0); err != nil || len(p.Records) != 1 {
		t.Error(p, err)
	}
	l.Add(record(1, 2)) // still queued, perhaps, when the end comes
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	again, _ := running(t, l.o)
	if p, err := again.All(0, 0); err != nil || len(p.Records) != 2 {
		t.Error(p, err)
	}
}

func TestHostileTexts(t *testing.T) {
	l, _ := running(t, Options{})
	r := record(-1, 1)
	r.Error = strings.Repeat("é", 1<<20) + "\xff"
	r.Instance = strings.Repeat("x", 1<<20)
	r.Cause.Detail = "\xff\x00\x1b[2J"
	r.Cause.Peer = netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(strings.Repeat("z", 1<<16)), 1)
	r.Kind, r.Outcome = "what\xff", Outcome(strings.Repeat("o", 1<<20))
	r.Time = time.Unix(1<<60, 0)
	l.Add(r)
	flush(t, l)
	p, err := l.Of(-1, 0, 0)
	if err != nil || len(p.Records) != 1 {
		t.Fatal(p, err)
	}
	if got := p.Records[0]; len(got.Error) > maxText || len(got.Instance) > maxName || !strings.HasPrefix(got.Cause.Detail, "?") ||
		got.Cause.Peer.Addr().Zone() != "" || !strings.HasPrefix(got.Error, "éé") {
		t.Errorf("%.300v", got)
	}
	if s := l.Sums(); s.Events[Event{}] != 1 || len(s.Events) != 1 {
		t.Errorf("%+v", s.Events)
	}
}

func TestHistograms(t *testing.T) {
	l := New(Options{File: filepath.Join(t.TempDir(), "x")}, nil)
	r := record(1, 1)
	r.Split = Split{Decided: time.Millisecond, Delivered: 240 * time.Millisecond}
	l.Add(r)
	r.Kind = Thaw
	l.Add(r)
	r.Outcome = Failed
	l.Add(r)
	s := l.Sums()
	h := s.Steps[StepOf{Wake, "delivered"}]
	if len(s.Steps) != 4 || h.Count != 1 || h.Sum != 0.24 || h.Buckets[0.2] != 0 || h.Buckets[0.25] != 1 || h.Buckets[60] != 1 {
		t.Errorf("%+v", s)
	}
	h.Buckets[60] = 99
	if l.Sums().Steps[StepOf{Wake, "delivered"}].Buckets[60] != 1 {
		t.Error("a reader's copy is the ledger's own")
	}
}
