package node

import (
	"maps"
	"sync"

	"github.com/lanyard-project/lanyard/dataplane"
)

// sums adds the counters of webspaces up to ones that never fall: a webspace that leaves this node takes its counters
// with it, and what it had counted must stay in the sum.
type sums struct {
	mu       sync.Mutex
	last     map[string]dataplane.Counters // by owner, as of the last scrape
	total    dataplane.Counters
	lastDrop map[dropKey]amount
	dropped  map[string]amount // by reason
	errors   map[string]float64
}

type dropKey struct {
	owner  string
	reason dataplane.Reason
}

type amount struct{ packets, bytes uint64 }

func newSums() *sums {
	s := &sums{last: map[string]dataplane.Counters{}, lastDrop: map[dropKey]amount{}, dropped: map[string]amount{}, errors: map[string]float64{}}
	for _, source := range []string{"status", "counters", "drops"} {
		s.errors[source] = 0
	}
	return s
}

// grown is how much a counter has grown; one that is smaller than before belongs to somebody new.
func grown(now, before uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

func (s *sums) traffic(now map[string]dataplane.Counters) dataplane.Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	for owner, c := range now {
		l := s.last[owner]
		if c.RxPackets < l.RxPackets || c.TxPackets < l.TxPackets { // the slot began anew: all of it is new
			l = dataplane.Counters{}
		}
		t := &s.total
		t.RxPackets += grown(c.RxPackets, l.RxPackets)
		t.RxBytes += grown(c.RxBytes, l.RxBytes)
		t.TxPackets += grown(c.TxPackets, l.TxPackets)
		t.TxBytes += grown(c.TxBytes, l.TxBytes)
		t.SlowPackets += grown(c.SlowPackets, l.SlowPackets)
		t.FlowsOpened += grown(c.FlowsOpened, l.FlowsOpened)
		t.Parked += grown(c.Parked, l.Parked)
	}
	s.last = maps.Clone(now)
	return s.total
}

func (s *sums) drops(now []dataplane.DropCount) map[string]amount {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[dropKey]amount, len(now))
	for _, d := range now {
		key := dropKey{d.Owner, d.Reason}
		seen[key] = amount{d.Packets, d.Bytes}
		l := s.lastDrop[key]
		sum := s.dropped[d.Reason.String()]
		sum.packets += grown(d.Packets, l.packets)
		sum.bytes += grown(d.Bytes, l.bytes)
		s.dropped[d.Reason.String()] = sum
	}
	s.lastDrop = seen
	return maps.Clone(s.dropped)
}

func (s *sums) failed(source string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errors[source]++
}

func (s *sums) failures() map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.errors)
}
