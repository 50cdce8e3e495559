package webspace

import (
	"context"
	"crypto/rand"
	"math/big"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// index knows who has which external port, domain and address, so that allocating one needs no look at all webspaces. LXD
// stays the truth: the index is made anew from each list, and only what is being written right now is known to it alone.
type index struct {
	mu        sync.Mutex
	ports     map[Forward]*claim
	domains   map[string]*claim
	addresses map[netip.Addr]*claim
	free      map[Proto]*freePorts
	round     uint64    // number of the newest look at LXD that was begun
	loaded    time.Time // when the newest one that arrived was begun; zero: none has
	lists     lister
}

// claim is somebody's port, domain or address.
type claim struct {
	uid     int
	pending bool   // is being written
	round   uint64 // the newest look that was begun before it was written: an older list cannot know it
}

// begin numbers a look at LXD; load takes its result.
func (x *index) begin() (round uint64, at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.round++
	return x.round, time.Now()
}

// load makes the index equal to a list, but for what is being written and what the list is too old to know. What a
// cluster member that does not answer holds stays claimed.
func (x *index) load(list []Instance, round uint64, at time.Time, first, last uint16) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if at.Before(x.loaded) {
		return // a later look has arrived first
	}
	silent := make(map[int]bool)
	ports, domains, addresses := make(map[Forward]*claim), make(map[string]*claim), make(map[netip.Addr]*claim, len(list))
	for _, i := range list {
		if i.Status == Errored {
			silent[i.UID] = true
		}
		if i.Record.Address.IsValid() { // of a record that cannot be used, too
			addresses[i.Record.Address] = &claim{uid: i.UID}
		}
		if i.RecordErr != nil {
			continue
		}
		for p := range i.Record.Ports {
			ports[Forward{TCP, p}] = &claim{uid: i.UID}
		}
		for p := range i.Record.UDPPorts {
			ports[Forward{UDP, p}] = &claim{uid: i.UID}
		}
		for _, d := range i.Record.Domains {
			domains[canonical(d)] = &claim{uid: i.UID}
		}
	}
	keep(ports, x.ports, round, silent)
	keep(domains, x.domains, round, silent)
	keep(addresses, x.addresses, round, silent)
	x.ports, x.domains, x.addresses, x.loaded = ports, domains, addresses, at
	x.free = map[Proto]*freePorts{TCP: newFree(first, last), UDP: newFree(first, last)}
	for f := range ports {
		x.free[f.Proto].take(f.Port)
	}
}

// keep adds to the new claims those of the old that the list could not know.
func keep[K comparable](now, old map[K]*claim, round uint64, silent map[int]bool) {
	for k, c := range old {
		if c.pending || c.round >= round || silent[c.uid] {
			now[k] = c
		}
	}
}

// canonical is a domain for comparison; one that is none any more is compared as it is.
func canonical(domain string) string {
	if !strings.ContainsFunc(domain, func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' }) {
		return strings.TrimSuffix(domain, ".") // as nearly all are, and cheaply so
	}
	if n, err := NormalDomain(domain); err == nil {
		return n
	}
	return domain
}

// claimPort takes a port, or a random free one for port 0. ok is false when it is taken, or none is free.
func (x *index) claimPort(uid int, f Forward) (taken Forward, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if f.Port == 0 {
		if f.Port, ok = x.free[f.Proto].random(); !ok {
			return Forward{}, false
		}
	} else if x.ports[f] != nil {
		return Forward{}, false
	}
	x.free[f.Proto].take(f.Port)
	x.ports[f] = &claim{uid: uid, pending: true}
	return f, true
}

// settlePort ends a claim: it is written, or given back.
func (x *index) settlePort(f Forward, written bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c := x.ports[f]; c != nil && written {
		c.pending, c.round = false, x.round
		return
	}
	delete(x.ports, f)
	if x.free[f.Proto] != nil {
		x.free[f.Proto].give(f.Port)
	}
}

func (x *index) claimDomain(uid int, domain string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.domains[domain] != nil {
		return false
	}
	x.domains[domain] = &claim{uid: uid, pending: true}
	return true
}

func (x *index) settleDomain(domain string, written bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c := x.domains[domain]; c != nil && written {
		c.pending, c.round = false, x.round
		return
	}
	delete(x.domains, domain)
}

// claimAddress takes a free address of a pool for a webspace until settleAddress.
func (x *index) claimAddress(uid int, p Pool) (netip.Addr, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	a, err := p.Allocate(uid, func(a netip.Addr) bool { return x.addresses[a] != nil })
	if err == nil {
		x.addresses[a] = &claim{uid: uid, pending: true}
	}
	return a, err
}

func (x *index) settleAddress(a netip.Addr, written bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c := x.addresses[a]; c != nil && written {
		c.pending, c.round = false, x.round
		return
	}
	delete(x.addresses, a)
}

// forget gives back all that a deleted webspace had.
func (x *index) forget(uid int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for f, c := range x.ports {
		if c.uid == uid && !c.pending {
			delete(x.ports, f)
			x.free[f.Proto].give(f.Port)
		}
	}
	for d, c := range x.domains {
		if c.uid == uid && !c.pending {
			delete(x.domains, d)
		}
	}
	for a, c := range x.addresses {
		if c.uid == uid && !c.pending {
			delete(x.addresses, a)
		}
	}
}

// age of the index; ok is false while nothing is loaded.
func (x *index) age() (age time.Duration, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return time.Since(x.loaded), !x.loaded.IsZero()
}

// freePorts are the ports of a range that nobody has; a random one costs the same whether few or many are left.
type freePorts struct {
	first uint16
	list  []uint16
	at    []int32 // by port - first: where in list; -1: taken
}

func newFree(first, last uint16) *freePorts {
	n := int(last) - int(first) + 1
	f := &freePorts{first: first, list: make([]uint16, n), at: make([]int32, n)}
	for i := range n {
		f.list[i], f.at[i] = first+uint16(i), int32(i)
	}
	return f
}

func (f *freePorts) take(port uint16) {
	k := int(port) - int(f.first)
	if k < 0 || k >= len(f.at) || f.at[k] < 0 {
		return
	}
	hole, last := f.at[k], f.list[len(f.list)-1]
	f.list[hole], f.at[last-f.first] = last, hole
	f.list, f.at[k] = f.list[:len(f.list)-1], -1
}

func (f *freePorts) give(port uint16) {
	k := int(port) - int(f.first)
	if k < 0 || k >= len(f.at) || f.at[k] >= 0 {
		return
	}
	f.at[k] = int32(len(f.list))
	f.list = append(f.list, port)
}

// random chooses without taking.
func (f *freePorts) random() (port uint16, ok bool) {
	if f == nil || len(f.list) == 0 {
		return 0, false
	}
	n, err := rand.Int(rand.Reader, big.NewInt(int64(len(f.list))))
	if err != nil { // never: crypto/rand, Go 1.24
		return f.list[0], true
	}
	return f.list[n.Int64()], true
}

// lister shares looks at LXD: whoever asks gets the result of one that was begun after asking.
type lister struct {
	mu      sync.Mutex
	running bool
	next    *look
}

type look struct {
	done chan struct{}
	list []Instance
	err  error
}

// list waits for a look, which goes on when ctx has ended: others may wait for it. It must be bounded by itself.
func (l *lister) list(ctx context.Context, lookAt func(context.Context) ([]Instance, error)) ([]Instance, error) {
	l.mu.Lock()
	if l.next == nil {
		l.next = &look{done: make(chan struct{})}
	}
	mine := l.next
	if !l.running {
		l.running = true
		go l.work(context.WithoutCancel(ctx), lookAt) // ends when nobody waits any more
	}
	l.mu.Unlock()
	select {
	case <-mine.done:
		return mine.list, mine.err
	case <-ctx.Done():
		return nil, &Problem{What: "could not list the webspaces", Cause: "the time was over", Next: "try again", Kind: ErrUnavailable, Err: ctx.Err()}
	}
}

func (l *lister) work(ctx context.Context, lookAt func(context.Context) ([]Instance, error)) {
	for {
		l.mu.Lock()
		mine := l.next
		l.next = nil
		if mine == nil {
			l.running = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		mine.list, mine.err = lookAt(ctx)
		close(mine.done)
	}
}

// look lists all webspaces, and lets the index and the view know. Many at once share few requests.
func (s *Service) look(ctx context.Context) ([]Instance, error) {
	return s.index.lists.list(ctx, func(ctx context.Context) ([]Instance, error) {
		round, at := s.index.begin()
		list, err := s.store.List(ctx)
		if err != nil {
			return nil, err
		}
		sortByUID(list)
		s.index.load(list, round, at, s.o.FirstPort, s.o.LastPort)
		s.view.show(list, at)
		return list, nil
	})
}

// indexed sees to it that the index is not too old to allocate from. With Run it never is, while LXD answers.
func (s *Service) indexed(ctx context.Context) error {
	if age, ok := s.index.age(); ok && age < 2*s.o.ResyncEvery {
		return nil
	}
	_, err := s.look(ctx)
	return err
}
