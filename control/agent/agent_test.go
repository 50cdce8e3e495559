package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/dns"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

func ws(uid int, node string, host string) webspace.Instance {
	ip := netip.AddrFrom4([4]byte{172, 24, 1, byte(uid)})
	return webspace.Instance{
		Name: fmt.Sprint("ws-u", uid), UID: uid, Node: node, Status: webspace.Running, NICType: "p2p", MAC: webspace.MAC(ip),
		HostInterface: host, Created: time.Unix(int64(uid), 0),
		Record: webspace.Record{User: uid, Address: ip, Ports: webspace.Ports{uint16(50000 + uid): 22}},
	}
}

func member(n int, leader bool) webspace.Member {
	a := netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
	return webspace.Member{Name: fmt.Sprint("n", n), Address: a, Online: true, Leader: leader, Node: webspace.Node{Index: n, VTEP: a}}
}

func testConfig() Config {
	return Config{
		Prefix: netip.MustParsePrefix("172.24.0.0/16"), Gateway: netip.MustParseAddr("172.24.254.1"),
		Infra: []netip.Prefix{netip.MustParsePrefix("172.24.0.0/24"), netip.MustParsePrefix("172.24.254.0/24")},
		Index: 1, VTEP: netip.MustParseAddr("192.0.2.1"), Cluster: true, Resync: time.Hour,
	}
}

// start runs an agent until the end of the test.
func start(t *testing.T, w *world, c Config) (*Agent, func()) {
	t.Helper()
	a, err := New(c, w, worldLinks{w}, w, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("Run: %v", err)
				}
			case <-time.After(5 * time.Second):
				t.Error("Run does not end")
			}
		})
	}
	t.Cleanup(stop)
	return a, stop
}

func eventually(t *testing.T, limit time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func endpoint(s dataplane.State, uid int) (dataplane.Endpoint, bool) {
	k := slices.IndexFunc(s.Endpoints, func(e dataplane.Endpoint) bool { return e.Owner == fmt.Sprint("ws-u", uid) })
	if k < 0 {
		return dataplane.Endpoint{}, false
	}
	return s.Endpoints[k], true
}

// A start, as LXD does it: the veth appears, then LXD says whose it is, then that it runs. Only the veth gives a hint.
func TestPortAppearsBeforeLXDSaysSo(t *testing.T) {
	w := newWorld()
	w.members = []webspace.Member{member(1, true)}
	i := ws(3, "n1", "")
	i.Status = webspace.Stopped
	w.instances = []webspace.Instance{i}
	a, _ := start(t, w, testConfig())
	eventually(t, time.Second, "the stopped webspace is known", func() bool { s, _ := w.last(); e, ok := endpoint(s, 3); return ok && e.Ifindex == 0 })
	w.change(func() { w.links["veth3"] = Link{"veth3", 7, "veth"} }, w.link)
	time.Sleep(30 * time.Millisecond)
	w.change(func() { w.instances[0].HostInterface = "veth3" })
	eventually(t, 300*time.Millisecond, "the port", func() bool { s, _ := w.last(); return len(s.Ports) == 1 && s.Ports[0].Ifindex == 7 })
	eventually(t, time.Second, "the lease", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.leases) == 1 && w.leases[0].Ifindex == 7 && w.leases[0].IP == i.Record.Address
	})
	// A live MTU change makes it again, with another index.
	w.change(func() { w.links["veth3"] = Link{"veth3", 8, "veth"} }, w.link)
	eventually(t, time.Second, "the port's new index", func() bool { s, _ := w.last(); return len(s.Ports) == 1 && s.Ports[0].Ifindex == 8 })
	w.change(func() { delete(w.links, "veth3") }, w.link)
	eventually(t, time.Second, "no port", func() bool {
		s, _ := w.last()
		e, ok := endpoint(s, 3)
		return len(s.Ports) == 0 && ok && e.Ifindex == 0
	})
	// A veth of somebody else must not keep us busy for ever.
	w.change(func() { w.links["vethx"] = Link{"vethx", 9, "veth"} }, w.link)
	time.Sleep(youth + 3*lookMost)
	_, before := w.last()
	time.Sleep(5 * lookMost)
	if _, after := w.last(); after != before {
		t.Errorf("%d passes for somebody else's veth", after-before)
	}
	if s := a.Status(); !s.Connected || !s.Fresh || s.Webspaces != 1 || len(s.Problems) != 0 {
		t.Errorf("status: %+v", s)
	}
}

// The start hook makes an interface whose owner is known before: its port does not wait for LXD, which is busy with the start.
func TestHookedPortDoesNotWaitForLXD(t *testing.T) {
	w := newWorld()
	w.members = []webspace.Member{member(1, true)}
	i := ws(3, "n1", "lyac180103")
	i.Status, i.NICType = webspace.Stopped, webspace.HookNIC
	w.instances = []webspace.Instance{i}
	start(t, w, testConfig())
	eventually(t, time.Second, "the stopped webspace is known", func() bool { s, _ := w.last(); e, ok := endpoint(s, 3); return ok && e.Ifindex == 0 })
	free := make(chan struct{})
	w.change(func() { w.busy = free }, w.lxd)
	for index := 7; index < 9; index++ { // and again, when it has stopped and starts
		w.change(func() { w.links["lyac180103"] = Link{"lyac180103", index, "veth"} }, w.link)
		eventually(t, 2*time.Second, "the port", func() bool {
			s, _ := w.last()
			e, ok := endpoint(s, 3)
			return ok && e.Ifindex == index && len(s.Ports) == 1 && s.Ports[0].Ifindex == index
		})
	}
	w.change(func() { w.refuse = errors.New("no") })
	w.change(func() { w.links["lyac180103"] = Link{"lyac180103", 9, "veth"} }, w.link)
	w.change(func() { w.refuse, w.busy = nil, nil })
	close(free)
	eventually(t, 5*time.Second, "the port after a refusal", func() bool { s, _ := w.last(); return len(s.Ports) == 1 && s.Ports[0].Ifindex == 9 })
	// A device of another kind is none of its.
	w.change(func() { w.links["lyac180103"] = Link{"lyac180103", 10, "dummy"} }, w.link)
	eventually(t, 2*time.Second, "no port", func() bool { s, _ := w.last(); return len(s.Ports) == 0 })
}

func TestLastStateStaysInForce(t *testing.T) {
	w := newWorld()
	w.members = []webspace.Member{member(1, true), member(2, false), member(3, false)}
	w.instances = []webspace.Instance{ws(3, "n1", "veth3"), ws(4, "n2", "x"), ws(5, "n3", "x")}
	w.links["veth3"] = Link{"veth3", 7, "veth"}
	c := testConfig()
	c.Cache = filepath.Join(t.TempDir(), "agent.json")
	c.Resync = 20 * time.Millisecond
	a, stop := start(t, w, c)
	complete := func() bool {
		s, _ := w.last()
		return len(s.Peers) == 2 && len(s.Endpoints) == 5 && len(s.Ports) == 1
	}
	eventually(t, time.Second, "everything", complete)

	gone := &webspace.Problem{What: "LXD is gone", Kind: webspace.ErrUnavailable}
	w.change(func() { w.down, w.instances = gone, nil }, w.lxd, w.link)
	eventually(t, time.Second, "the status says so", func() bool { s := a.Status(); return !s.Connected && s.ClusterErr != nil && !s.Fresh })
	time.Sleep(100 * time.Millisecond)
	if !complete() {
		s, _ := w.last()
		t.Fatalf("without LXD: %+v", s)
	}
	if _, err := a.Resync(t.Context()); !errors.Is(err, webspace.ErrUnavailable) {
		t.Errorf("resync without LXD: %v", err)
	}
	// The kernel still tells the truth about links.
	w.change(func() { w.links["veth3"] = Link{"veth3", 17, "veth"} }, w.link)
	eventually(t, time.Second, "the new index", func() bool { s, _ := w.last(); return len(s.Ports) == 1 && s.Ports[0].Ifindex == 17 })

	// A new daemon goes on with what the old one knew, and without that does nothing at all.
	stop()
	w.change(func() { w.applied = nil })
	_, stop = start(t, w, c)
	eventually(t, time.Second, "everything, from the cache", complete)
	stop()
	records, _, ok := Recall(c)
	for _, name := range []string{"n2", "ws-u3", "ws-u4", "ws-u5"} {
		if !ok || !slices.ContainsFunc(records, func(r dns.Record) bool { return r.Name == name }) {
			t.Errorf("the cache does not give %s a name: %v", name, records)
		}
	}
	c.Cache = ""
	if _, _, ok := Recall(c); ok {
		t.Error("names are recalled out of nothing")
	}
	w.change(func() { w.applied = nil })
	a, _ = start(t, w, c)
	eventually(t, time.Second, "a failed pass", func() bool { return a.Status().Failures > 2 })
	if _, n := w.last(); n != 0 {
		t.Error("a state was applied out of nothing")
	}
	// And its return.
	w.change(func() {
		w.down, w.instances = nil, []webspace.Instance{ws(3, "n1", "veth3"), ws(4, "n2", "x"), ws(5, "n3", "x")}
	}, w.lxd)
	eventually(t, time.Second, "everything, again", complete)
}

// A change right after a save is saved too, even when LXD goes away before the next save is due.
func TestThrottledSaveIsMadeUpFor(t *testing.T) {
	w := newWorld()
	w.members = []webspace.Member{member(1, true)}
	w.instances = []webspace.Instance{ws(3, "n1", "veth3")}
	c := testConfig()
	c.Cache = filepath.Join(t.TempDir(), "agent.json")
	c.Resync = time.Hour
	start(t, w, c)
	holds := func(name string) func() bool {
		return func() bool { b, _ := os.ReadFile(c.Cache); return bytes.Contains(b, []byte(name)) }
	}
	eventually(t, time.Second, "the first save", holds("ws-u3"))
	w.change(func() { w.instances = append(w.instances, ws(4, "n1", "veth4")) }, w.lxd)
	eventually(t, time.Second, "the change", func() bool { s, _ := w.last(); _, ok := endpoint(s, 4); return ok })
	w.change(func() { w.down = &webspace.Problem{What: "LXD is gone", Kind: webspace.ErrUnavailable} }, w.lxd)
	eventually(t, 3*saveEvery, "the second save", holds("ws-u4"))
}

func TestMemberThatDoesNotAnswer(t *testing.T) {
	w := newWorld()
	w.members = []webspace.Member{member(1, true), member(2, false)}
	w.instances = []webspace.Instance{ws(3, "n1", "veth3"), ws(4, "n2", "x")}
	a, _ := start(t, w, testConfig())
	there := func() bool {
		s, _ := w.last()
		e, ok := endpoint(s, 4)
		return ok && e.VTEP == member(2, false).Address
	}
	eventually(t, time.Second, "the webspace on n2", there)

	// First the list hangs. What happens here must not wait for it.
	slow := make(chan struct{})
	w.change(func() {
		w.slow = slow
		w.links["veth3"] = Link{"veth3", 7, "veth"}
		w.instances[1] = webspace.Instance{Name: "ws-u4", UID: 4, Node: "n2", Status: webspace.Errored,
			RecordErr: &webspace.Problem{What: "nothing is known", Kind: webspace.ErrUnavailable}}
	}, w.lxd, w.link)
	eventually(t, time.Second, "the port here", func() bool { s, _ := w.last(); return len(s.Ports) == 1 })
	// Then it says that nothing is known.
	w.change(func() { w.slow = nil })
	close(slow)
	if _, err := a.Resync(t.Context()); err != nil {
		t.Error(err)
	}
	if !there() {
		t.Error("what was known of n2 is forgotten")
	}
	// A webspace that is gone, however, is gone.
	w.change(func() { w.instances = w.instances[:1] }, w.lxd)
	eventually(t, time.Second, "its end", func() bool { s, _ := w.last(); _, ok := endpoint(s, 4); return !ok })
	w.change(func() { w.members = w.members[:1] }, w.lxd)
	eventually(t, time.Second, "the peer's end", func() bool { s, _ := w.last(); return len(s.Peers) == 0 })
}

func TestMove(t *testing.T) {
	w := newWorld()
	w.members = []webspace.Member{member(1, true), member(2, false)}
	w.instances = []webspace.Instance{ws(3, "n1", "veth3")}
	w.links["veth3"] = Link{"veth3", 7, "veth"}
	start(t, w, testConfig())
	eventually(t, time.Second, "it is here", func() bool { s, _ := w.last(); return len(s.Ports) == 1 })
	w.change(func() { w.instances[0] = ws(3, "n2", "vethy"); delete(w.links, "veth3") }, w.lxd, w.link)
	eventually(t, time.Second, "it is there", func() bool {
		s, _ := w.last()
		e, ok := endpoint(s, 3)
		return ok && e.VTEP == member(2, false).Address && e.Ifindex == 0 && len(s.Ports) == 0
	})
	w.change(func() { w.instances[0] = ws(3, "n1", "veth9"); w.links["veth9"] = Link{"veth9", 9, "veth"} }, w.link) // LXD's event comes late
	eventually(t, time.Second, "it is back", func() bool { s, _ := w.last(); e, ok := endpoint(s, 3); return ok && e.Ifindex == 9 })
}

func TestLeaderAdoptsAndEverybodyPublishes(t *testing.T) {
	for _, leads := range []bool{true, false} {
		w := newWorld()
		us := member(1, leads)
		us.Node, us.NodeErr = webspace.Node{}, &webspace.Problem{What: "silent", Kind: webspace.ErrNotFound}
		w.members = []webspace.Member{us, member(2, !leads)}
		i := ws(3, "n2", "x")
		i.Record.Address, w.adopt = netip.Addr{}, netip.MustParseAddr("172.24.1.77")
		w.instances = []webspace.Instance{i}
		c := testConfig()
		c.Forwards = []netip.Addr{c.VTEP}
		a, _ := start(t, w, c)
		eventually(t, time.Second, "published", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.published) > 0 && w.published[0].Equal(webspace.Node{Index: 1, VTEP: c.VTEP, Forwards: c.Forwards})
		})
		if leads {
			eventually(t, time.Second, "adopted", func() bool { s, _ := w.last(); e, ok := endpoint(s, 3); return ok && e.IP == w.adopt })
		} else if _, err := a.Resync(t.Context()); err != nil || len(a.Status().Problems) != 1 {
			t.Errorf("without a leader: %v, %v", err, a.Status().Problems)
		}
		if _, err := a.Resync(t.Context()); err != nil {
			t.Error(err)
		}
		w.mu.Lock()
		if len(w.published) != 1 {
			t.Errorf("published %d times", len(w.published))
		}
		w.mu.Unlock()
	}
}

func TestKernelRefuses(t *testing.T) {
	w := newWorld()
	w.members = []webspace.Member{member(1, true)}
	w.refuse = errors.New("no memory")
	a, stop := start(t, w, testConfig())
	hints, cancel := a.Subscribe()
	defer cancel()
	eventually(t, 3*time.Second, "it is tried again", func() bool { return a.Status().Failures >= 3 })
	if s := a.Status(); s.Err == nil || !s.LastSync.IsZero() {
		t.Errorf("status: %+v", s)
	}
	w.change(func() { w.refuse = nil })
	eventually(t, 3*time.Second, "it works", func() bool { return a.Status().Err == nil && !a.Status().LastSync.IsZero() })
	select {
	case <-hints:
	default:
		t.Error("the subscriber heard nothing")
	}
	stop()
	if _, err := a.Resync(t.Context()); !errors.Is(err, errEnded) {
		t.Errorf("resync after the end: %v", err)
	}
}

func TestConfig(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"prefix": func(c *Config) { c.Prefix = netip.Prefix{} }, "small": func(c *Config) { c.Prefix = netip.MustParsePrefix("172.24.0.0/25") },
		"v6": func(c *Config) { c.Prefix = netip.MustParsePrefix("fd00::/64") }, "index": func(c *Config) { c.Index = 0 },
		"high": func(c *Config) { c.Index = 254 }, "vtep": func(c *Config) { c.VTEP = netip.Addr{} },
		"ports": func(c *Config) { c.ForwardPorts = dataplane.PortRange{First: 10, Last: 5} },
	} {
		c := testConfig()
		spoil(&c)
		if _, err := New(c, nil, nil, nil, nil, nil); !errors.Is(err, webspace.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
