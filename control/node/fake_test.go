package node

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/agent"
	"github.com/lanyard-project/lanyard/control/dhcp"
	"github.com/lanyard-project/lanyard/control/dns"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/control/supervise"
	"github.com/lanyard-project/lanyard/control/wake"
	"github.com/lanyard-project/lanyard/dataplane"
)

// fakePlane answers what it is told to.
type fakePlane struct {
	mu       sync.Mutex
	status   dataplane.Status
	counters map[string]dataplane.Counters
	drops    []dataplane.DropCount
	err      error
	samples  chan dataplane.Sample
	readers  int
}

func (f *fakePlane) Status() (dataplane.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status, f.err
}

func (f *fakePlane) Counters() (map[string]dataplane.Counters, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counters, f.err
}

func (f *fakePlane) Drops() ([]dataplane.DropCount, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.drops, f.err
}

func (f *fakePlane) Samples(ctx context.Context, give func(dataplane.Sample)) error {
	f.count(1)
	defer f.count(-1)
	for {
		select {
		case <-ctx.Done():
			return nil
		case s, ok := <-f.samples:
			if !ok {
				return errors.New("the ring buffer is gone")
			}
			give(s)
		}
	}
}

func (f *fakePlane) count(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers += n
}

func (f *fakePlane) reading() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.readers
}

type fakeAgent struct {
	mu     sync.Mutex
	status agent.Status
	result agent.Result
	err    error
}

func (f *fakeAgent) Status() agent.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

func (f *fakeAgent) Resync(context.Context) (agent.Result, error) { return f.result, f.err }

type fakeDHCP struct {
	running  bool
	problems []error
}

func (f fakeDHCP) Stats() dhcp.Stats {
	return dhcp.Stats{Received: map[string]uint64{"discover": 3}, Sent: map[string]uint64{"offer": 2}, Dropped: map[string]uint64{"identity": 1}}
}
func (f fakeDHCP) Running() bool     { return f.running }
func (f fakeDHCP) Reservations() int { return 2 }
func (f fakeDHCP) Problems() []error { return f.problems }

type fakeDNS struct {
	running  bool
	problems []error
}

func (f fakeDNS) Stats() dns.Stats {
	return dns.Stats{Queries: map[string]uint64{"A": 9}, Answers: map[string]map[string]uint64{"cache": {"noerror": 5}}, Dropped: map[string]uint64{"rate": 2},
		Records: 4, Upstreams: []dns.UpstreamStats{{Name: "192.0.2.53:53", Up: true, Answered: 3}, {Name: "192.0.2.54:53"}}}
}
func (f fakeDNS) Running() bool     { return f.running }
func (f fakeDNS) Problems() []error { return f.problems }

type fakeWaker struct{}

func (fakeWaker) States() []wake.State {
	return []wake.State{{UID: 3, Name: "ws-u3", Addr: netip.MustParseAddr("172.24.1.3"), Life: dataplane.LifeAsleep, Err: errors.New("its disk is full")},
		{UID: 1, Name: "ws-u1", Addr: netip.MustParseAddr("172.24.1.1"), Life: dataplane.LifeBooting, Doing: "wake", Held: 2}}
}
func (fakeWaker) Stats() wake.Stats {
	return wake.Stats{Parked: 9, Dropped: 4, Queued: 1, HeldFrames: 2, Denied: map[string]uint64{"never": 3}}
}

type fixedMachine struct{}

func (fixedMachine) Hostname() (string, error) { return "node1", nil }
func (fixedMachine) DefaultRoute() (string, netip.Addr, error) {
	return "eth0", netip.MustParseAddr("192.0.2.1"), nil
}
func (fixedMachine) Address(string) (netip.Addr, error)       { return netip.MustParseAddr("192.0.2.1"), nil }
func (fixedMachine) Ephemeral(config.PortRange) (bool, error) { return false, nil }
func (fixedMachine) Nameservers() ([]netip.Addr, error)       { return nil, nil }

// fakeNode is a healthy node of fakes.
func fakeNode(t testing.TB) (*Node, *fakePlane, *fakeAgent) {
	t.Helper()
	c := config.Default()
	c.Admin.Socket = filepath.Join(t.TempDir(), "run", "node.sock")
	c.Paths.State = filepath.Join(t.TempDir(), "state")
	c, _, err := c.Resolve(fixedMachine{})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	p := &fakePlane{
		status: dataplane.Status{
			Layout: 1, MTU: 1450,
			Programs: []dataplane.ProgramStatus{
				{Name: "node", Hook: "tcx/egress", Interface: "lanyard0", Attached: true, Tag: "a1"},
				{Name: "port", Hook: "tcx/ingress", Interface: "veth1", Attached: true},
				{Name: "port", Hook: "tcx/ingress", Interface: "veth2", Attached: true},
				{Name: "underlay", Hook: "tcx/ingress", Interface: "eth0", Attached: true},
			},
			Maps:      []dataplane.MapStatus{{Name: "flows", Entries: 7, Max: 131072, Bytes: 1 << 24}, {Name: "counters", Entries: -1, Max: 1024}},
			Peers:     []dataplane.PeerStatus{{VTEP: netip.MustParseAddr("192.0.2.2"), Ready: true}, {VTEP: netip.MustParseAddr("192.0.2.3"), Detail: "no answer"}},
			Ports:     []dataplane.PortStatus{{Name: "veth1", Ifindex: 5, IP: netip.MustParseAddr("172.24.1.1"), Owner: "ws-u1", Kind: "webspace", Slot: 1}},
			Endpoints: []dataplane.EndpointStatus{{IP: netip.MustParseAddr("172.24.1.1"), MAC: "02:4c:ac:18:01:01", Port: "veth1", State: "awake", Owner: "ws-u1"}},
			Forwards:  []dataplane.ForwardStatus{{External: netip.MustParseAddrPort("192.0.2.1:50000"), Proto: "tcp", Target: netip.MustParseAddrPort("172.24.1.1:22"), Owner: "ws-u1"}},
			Flows:     dataplane.FlowStatus{Entries: 3, Max: 65536, Share: 64, Quota: 1024},
		},
		counters: map[string]dataplane.Counters{"": {RxPackets: 1}, "ws-u1": {RxPackets: 10, RxBytes: 1000, TxPackets: 5, TxBytes: 500, SlowPackets: 2, FlowsOpened: 1}},
		drops:    []dataplane.DropCount{{Owner: "ws-u1", Reason: 3, Packets: 4, Bytes: 240}, {Reason: 3, Packets: 1, Bytes: 60}},
		samples:  make(chan dataplane.Sample, 16),
	}
	a := &fakeAgent{status: agent.Status{Connected: true, LXDSeen: time.Now(), LastSync: time.Now(), Duration: 5 * time.Millisecond, Runs: 4, Fresh: true,
		PeerNames: map[netip.Addr]string{netip.MustParseAddr("192.0.2.2"): "node2"},
		Problems:  []agent.Problem{{Subject: "webspace ws-u9", Err: errors.New("its record is no JSON")}}}}
	n := &Node{config: c, version: "v1", started: time.Now(), log: log, plane: p, agent: a, dhcp: fakeDHCP{running: true}, dns: fakeDNS{running: true}, waker: fakeWaker{}, supervisor: supervise.New(log),
		ledger: fakeLedger{}, keeper: &fakeKeeper{}}
	return n, p, a
}
