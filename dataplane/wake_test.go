package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// busy bounds every wait of these tests; a machine may be busy.
const busy = 60 * time.Second

// watcher gathers what comes out of the parking, and the events.
type watcher struct {
	t      testing.TB
	mu     sync.Mutex
	frames []Frame
	events []Event
}

func (n *node) watch(d *Dataplane) *watcher {
	n.t.Helper()
	w := &watcher{t: n.t}
	ctx, stop := context.WithCancel(n.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := d.Parking().Read(ctx, func(f Frame) { w.mu.Lock(); defer w.mu.Unlock(); w.frames = append(w.frames, f) }); err != nil {
			n.t.Error(err)
		}
	})
	running.Go(func() {
		if err := d.Events(ctx, func(e Event) { w.mu.Lock(); defer w.mu.Unlock(); w.events = append(w.events, e) }); err != nil {
			n.t.Error(err)
		}
	})
	n.t.Cleanup(func() { stop(); running.Wait() })
	// Events that come before the reader are thrown away: it is there when its hub has one.
	waitFor(n.t, "the readers run", func() bool {
		d.events.mu.Lock()
		defer d.events.mu.Unlock()
		return len(d.events.readers) > 0
	})
	return w
}

// within waits for a condition for as long as a busy machine may need.
func waitFor(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(busy); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("not within %v: %s", busy, what)
}

// frame waits for a parked frame that is as asked for.
func (w *watcher) frame(what string, is func(Frame) bool) (found Frame) {
	w.t.Helper()
	waitFor(w.t, "parked: "+what, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, f := range w.frames {
			if is(f) {
				found = f
				return true
			}
		}
		return false
	})
	return found
}

// event waits for an event.
func (w *watcher) event(what string, is func(Event) bool) (found Event) {
	w.t.Helper()
	waitFor(w.t, "event: "+what, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, e := range w.events {
			if is(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// dial connects from a namespace, in the background.
func (n *node) dial(ns netns.NsHandle, to netip.AddrPort) <-chan dialled {
	n.t.Helper()
	out := make(chan dialled, 1)
	ctx, stop := context.WithTimeout(n.t.Context(), busy)
	n.t.Cleanup(stop)
	go func() {
		var r dialled
		n.in(ns, func() { r.conn, r.err = (&net.Dialer{}).DialContext(ctx, "tcp4", to.String()) })
		out <- r
	}()
	return out
}

type dialled struct {
	conn net.Conn
	err  error
}

// listen listens in a namespace, and answers every connection with the client's address.
func (n *node) listen(ns netns.NsHandle, port int) net.Listener {
	n.t.Helper()
	var l net.Listener
	n.in(ns, func() {
		var err error
		l, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		n.must(err)
	})
	n.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP)
			c.Close()
		}
	}()
	return l
}

// greeted says whose address the server saw.
func (n *node) greeted(r dialled) string {
	n.t.Helper()
	n.must(r.err)
	defer r.conn.Close()
	n.must(r.conn.SetDeadline(time.Now().Add(busy)))
	b, err := io.ReadAll(r.conn)
	n.must(err)
	return string(b)
}

// asleep gives the endpoint of a webspace that is stopped.
func asleep(e Endpoint, wake WakePolicy) Endpoint {
	e.Ifindex, e.Life, e.Wake = 0, LifeAsleep, wake
	return e
}

// reasons sums what was refused, by reason.
func (n *node) reasons(d *Dataplane) map[Reason]uint64 {
	n.t.Helper()
	drops, err := d.Drops()
	n.must(err)
	sums := map[Reason]uint64{}
	for _, c := range drops {
		sums[c.Reason] += c.Packets
	}
	return sums
}

const wakeAll = WakeForward | WakeLAN | WakeNode

// The whole way of a wake, from each side: a neighbour, the node itself, a client outside. The first packet is parked, the
// webspace boots, refuses at first, and then takes the very same bytes. The address is up at once here, so that what decides is the
// port.
func TestWake(t *testing.T) {
	n := newNode(t)
	d := n.open()
	go d.Run(t.Context())
	p1, e1, ns1 := n.webspace(1)
	p2, e2, ns2 := n.webspace(2)
	n.gatewayRoute(func(f func()) { n.in(ns2, f) })
	outside := n.outside()
	forward := Forward{External: netip.MustParseAddrPort("192.0.2.1:8080"), Proto: TCP, Target: netip.AddrPortFrom(e2.IP, 80), Owner: "ws-u2"}
	home := n.home()
	defer home.Close()
	w := n.watch(d)
	for _, c := range []struct {
		name string
		from netns.NsHandle
		to   netip.AddrPort
		peer netip.Addr
	}{
		{"neighbour", ns1, netip.AddrPortFrom(e2.IP, 80), e1.IP},
		{"node", home, netip.AddrPortFrom(e2.IP, 80), n.cfg.NodeIP},
		{"forward", n.far, forward.External, outside},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.mu.Lock()
			w.frames, w.events = nil, nil
			w.mu.Unlock()
			apply(t, d, State{Ports: []Port{p1}, Endpoints: []Endpoint{e1, asleep(e2, wakeAll)}, Forwards: []Forward{forward}})
			before := n.reasons(d)[ReasonBootingRefusal]
			client := n.dial(c.from, c.to)
			syn := w.frame("the SYN", func(f Frame) bool { return f.Proto == TCP && f.Port == 80 && f.Peer == c.peer })
			if syn.Owner != "ws-u2" || syn.IP != e2.IP || syn.Unverified || syn.PeerPort == 0 {
				t.Errorf("parked %+v", syn)
			}
			n.must(d.SetLife(e2.IP, LifeBooting))
			apply(t, d, State{Ports: []Port{p1, p2}, Endpoints: []Endpoint{e1, e2}, Forwards: []Forward{forward}})
			if got := d.Life(e2.IP); got != LifeBooting {
				t.Fatalf("an Apply took the life back: %v", got)
			}
			// Too early: the refusal is held back, as often as it comes.
			waitFor(t, "a refusal is held back", func() bool {
				n.must(d.Parking().Inject(syn.Data))
				return n.reasons(d)[ReasonBootingRefusal] > before
			})
			select {
			case r := <-client:
				t.Fatalf("the client was told: %v", r.err)
			default:
			}
			l := n.listen(ns2, 80)
			defer l.Close()
			var r dialled
			waitFor(t, "the client is connected", func() bool {
				n.must(d.Parking().Inject(syn.Data))
				select {
				case r = <-client:
					return true
				default:
					return false
				}
			})
			if got := n.greeted(r); got != c.peer.String() {
				t.Errorf("the server saw %q, want %v", got, c.peer)
			}
			w.event("the port has answered", func(e Event) bool {
				return e.Kind == EventAnswered && e.Proto == TCP && e.Port == 80 && e.IP == e2.IP && e.Owner == "ws-u2"
			})
			w.event("the address is up", func(e Event) bool { return e.Kind == EventFirstFrame && e.IP == e2.IP })
			// A port that has answered is open to all at once, before user space says so.
			if got := n.greeted(<-n.dial(c.from, c.to)); got != c.peer.String() {
				t.Errorf("the second one: the server saw %q", got)
			}
			n.must(d.SetLife(e2.IP, LifeAwake))
			if got := n.greeted(<-n.dial(c.from, c.to)); got != c.peer.String() {
				t.Errorf("once awake: the server saw %q", got)
			}
			n.must(d.SetLife(e2.IP, LifeUnset))
		})
	}
	if c := apply(t, d, State{Ports: []Port{p1, p2}, Endpoints: []Endpoint{e1, e2}, Forwards: []Forward{forward}}); !c.Empty() {
		t.Errorf("what SetLife wrote is not what Apply wants: %+v", c.Tables)
	}
	if err := d.SetLife(netip.MustParseAddr("172.24.9.9"), LifeAsleep); !errors.Is(err, ErrNoEndpoint) {
		t.Errorf("an endpoint that is not there: %v", err)
	}
}

// outside gives a client beyond the router, and the node its route there.
func (n *node) outside() netip.Addr {
	n.t.Helper()
	ip := netip.MustParseAddr("198.51.100.10")
	n.in(n.far, func() {
		lo, err := netlink.LinkByName("lo")
		n.must(err)
		n.must(netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipnet(netip.PrefixFrom(ip, 32))}))
		link, err := netlink.LinkByName("eth0")
		n.must(err)
		// What it sends has that address.
		n.must(netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipnet(netip.MustParsePrefix("192.0.2.0/24")), Src: ip.AsSlice(), Scope: netlink.SCOPE_LINK}))
	})
	n.must(netlink.RouteAdd(&netlink.Route{Gw: net.IPv4(192, 0, 2, 254)}))
	return ip
}
