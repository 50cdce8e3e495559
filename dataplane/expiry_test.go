package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/bpf"
)

// flow puts a flow of TCP into the table as the programs do: both entries, and its place in the share.
func (n *node) flow(d *Dataplane, slot uint32, port uint16) (bpf.TcTuple, bpf.TcFlow) {
	n.t.Helper()
	ws, remote := wire(netip.MustParseAddr("172.24.1.1")), wire(netip.MustParseAddr("198.51.100.10"))
	key := bpf.TcTuple{Src: ws, Dst: remote, Sport: port, Dport: 80, Proto: uint8(TCP)}
	other := bpf.TcTuple{Src: remote, Dst: wire(netip.MustParseAddr("192.0.2.1")), Sport: 80, Dport: 20000 + port, Proto: uint8(TCP)}
	now := monotonic()
	f := bpf.TcFlow{Other: other, Created: now, LastSeen: now, Slot: slot, Kind: uint8(bpf.TcFlowKindFLOW_OUT), State: uint8(bpf.TcFlowStateSEEN_SYN)}
	b := f
	b.Other, b.Kind, b.State = key, uint8(bpf.TcFlowKindFLOW_BACK), 0
	n.must(d.maps["flows"].Put(other, b))
	n.must(d.maps["flows"].Put(key, f))
	d.shared.addFlows(slot, 1)
	return key, f
}

func TestTimeouts(t *testing.T) {
	const (
		out, back   = bpf.TcFlowStateSEEN_OUT, bpf.TcFlowStateSEEN_BACK
		finO, finB  = bpf.TcFlowStateSEEN_FIN_OUT, bpf.TcFlowStateSEEN_FIN_BACK
		rst, syn    = bpf.TcFlowStateSEEN_RST, bpf.TcFlowStateSEEN_SYN
		ack, pooled = bpf.TcFlowStateSEEN_ACK_BACK, bpf.TcFlowStateFLOW_POOLED
	)
	to := Config{}.WithDefaults().Timeouts
	for _, c := range []struct {
		name  string
		proto Proto
		seen  bpf.TcFlowState
		want  time.Duration
	}{
		{"SYN without answer", TCP, syn | out, to.TCPTransitory},
		{"established", TCP, syn | out | back | ack, to.TCPEstablished},
		{"established, from the pool", TCP, syn | out | back | ack | pooled, to.TCPEstablished},
		{"taken over in the middle", TCP, out | back | ack, to.TCPEstablished},
		{"half closed", TCP, syn | out | back | ack | finO, to.TCPTransitory},
		{"half closed by the other", TCP, syn | out | back | ack | finB, to.TCPTransitory},
		{"closed", TCP, syn | out | back | ack | finO | finB, to.TCPClosed},
		{"reset", TCP, syn | out | back | rst, to.TCPClosed},
		{"answered", UDP, out | back, to.UDP},
		{"unanswered", UDP, out, to.UDPUnanswered},
		{"echo", ICMP, out | back, to.ICMP},
	} {
		if got := to.timeout(c.proto, uint8(c.seen)); got != c.want {
			t.Errorf("%v, %s: %v, want %v", c.proto, c.name, got, c.want)
		}
	}
}

func TestSweep(t *testing.T) {
	n := newNode(t)
	n.cfg.Timeouts = Timeouts{TCPTransitory: time.Second, TCPEstablished: time.Hour}
	d := n.open()
	p1, e1, _ := n.webspace(1)
	s := State{Ports: []Port{p1}, Endpoints: []Endpoint{e1}}
	apply(t, d, s)
	slot := d.slots.owner["ws-u1"]
	flows := d.maps["flows"]
	put := func(key bpf.TcTuple, f bpf.TcFlow) { n.must(flows.Put(key, f)) }
	exists := func(key bpf.TcTuple) bool {
		var f bpf.TcFlow
		return flows.Lookup(key, &f) == nil
	}
	past := monotonic() - uint64(time.Minute)

	idle, f := n.flow(d, slot, 1)
	f.LastSeen, f.Created = past, past
	put(idle, f)
	var b bpf.TcFlow
	n.must(flows.Lookup(f.Other, &b))
	b.LastSeen = past
	put(f.Other, b)
	idleBack := f.Other

	answered, f := n.flow(d, slot, 2) // lives by answers alone
	f.LastSeen = past
	put(answered, f)
	fresh, _ := n.flow(d, slot, 3)

	established, f := n.flow(d, slot, 4)
	f.LastSeen = past
	put(established, f)
	n.must(flows.Lookup(f.Other, &b))
	b.LastSeen, b.State = past, uint8(bpf.TcFlowStateSEEN_BACK|bpf.TcFlowStateSEEN_ACK_BACK)
	put(f.Other, b)

	_, f = n.flow(d, slot, 5) // its opener's entry was removed by a daemon that died then
	orphan := f.Other
	n.must(flows.Lookup(orphan, &b))
	n.must(flows.Delete(b.Other))
	d.shared.addFlows(slot, -1)
	b.Created, b.LastSeen = past, past
	put(orphan, b)

	if got := d.shared.flows(slot); got != 4 {
		t.Fatalf("%d flows are counted, want 4", got)
	}
	sw, err := d.sweepFlows(t.Context())
	n.must(err)
	if sw.removed != 2 {
		t.Errorf("%d were removed, want 2", sw.removed)
	}
	for key, want := range map[bpf.TcTuple]bool{idle: false, idleBack: false, answered: true, fresh: true, established: true, orphan: false} {
		if exists(key) != want {
			t.Errorf("flow %d -> %d exists: %v, want %v", key.Sport, key.Dport, !want, want)
		}
	}
	if got := d.shared.flows(slot); got != 3 {
		t.Errorf("%d flows are counted, want 3", got)
	}

	// What is denied now ends at once.
	s.Deny = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	s.Allow = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/28")}
	apply(t, d, s)
	_, err = d.sweepFlows(t.Context())
	n.must(err)
	if got := d.shared.flows(slot); got != 3 {
		t.Errorf("an exception is not heeded: %d flows, want 3", got)
	}
	s.Allow = nil
	apply(t, d, s)
	_, err = d.sweepFlows(t.Context())
	n.must(err)
	if got := d.shared.flows(slot); got != 0 {
		t.Errorf("%d flows to a denied destination are left", got)
	}
}

// The flows of a webspace that has gone end, and its slot is free again, wiped.
func TestOwnerGone(t *testing.T) {
	n := newNode(t)
	d := n.open()
	p1, e1, _ := n.webspace(1)
	apply(t, d, State{Ports: []Port{p1}, Endpoints: []Endpoint{e1}})
	slot := d.slots.owner["ws-u1"]
	key, _ := n.flow(d, slot, 1)
	n.must(d.maps["counters"].Put(slot, []bpf.TcCounters{{RxPackets: 5}}))
	n.must(d.maps["drops"].Put(bpf.TcDropKey{Slot: slot, Reason: uint32(ReasonSpoofedIP)}, []bpf.TcDropCount{{Packets: 2}}))
	drops, err := d.Drops()
	n.must(err)
	if len(drops) != 1 || drops[0] != (DropCount{"ws-u1", ReasonSpoofedIP, 2, 0}) {
		t.Errorf("drops are %+v", drops)
	}
	apply(t, d, State{})
	var a audit
	n.must(d.sweepOnce(t.Context(), &a, true))
	var f bpf.TcFlow
	if d.maps["flows"].Lookup(key, &f) == nil {
		t.Error("its flow is still there")
	}
	if _, ok := d.slots.owner["ws-u1"]; ok {
		t.Error("its slot is still taken")
	}
	if drops, err = d.Drops(); err != nil || len(drops) != 0 {
		t.Errorf("its drops are still there: %+v %v", drops, err)
	}
	var c []bpf.TcCounters
	n.must(d.maps["counters"].Lookup(slot, &c))
	if c[0] != (bpf.TcCounters{}) {
		t.Errorf("its counters are still there: %+v", c)
	}
}

// A share that a killed daemon left wrong is corrected, but never on a single suspicion.
func TestAudit(t *testing.T) {
	n := newNode(t)
	d := n.open()
	n.flow(d, 3, 1)
	d.shared.addFlows(3, 4)
	d.shared.addFlows(0, -2)
	var a audit
	for i := range patience {
		if i > 0 && d.shared.flows(3) != 5 {
			t.Fatalf("corrected after %d sweeps", i)
		}
		sw, err := d.sweepFlows(t.Context())
		n.must(err)
		a.correct(d.shared, sw)
	}
	if d.shared.flows(3) != 1 || d.shared.flows(0) != 0 {
		t.Errorf("shares are %d and %d, want 1 and 0", d.shared.flows(3), d.shared.flows(0))
	}
}

func TestDivide(t *testing.T) {
	for flows := 1; flows < 200000; flows = flows*3 + 1 {
		for n := range 5000 {
			v := divide(flows, n)
			if v.share == 0 || v.quota < v.share {
				t.Fatalf("%d flows for %d webspaces: %+v", flows, n, v)
			}
			if int(v.share)*n+int(v.pool) > max(flows, n) {
				t.Fatalf("%d flows for %d webspaces: %+v gives away more than there is", flows, n, v)
			}
		}
	}
}
