package agent

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/lanyard-project/lanyard/control/dhcp"
	"github.com/lanyard-project/lanyard/dataplane"
	"github.com/lanyard-project/lanyard/webspace"
)

var update = flag.Bool("update", false, "write what was got into testdata")

// fileConfig is the `config` of a testdata file.
type fileConfig struct {
	Index    int
	VTEP     netip.Addr
	Own      []netip.Addr
	Forwards []netip.Addr
	Peers    []Peer
	Cluster  bool
	Deny     []netip.Prefix
	Allow    []netip.Prefix
	Links    map[string]Link
}

func (f fileConfig) config(t *testing.T) Config {
	t.Helper()
	c := Config{
		Prefix: netip.MustParsePrefix("172.24.0.0/16"), Gateway: netip.MustParseAddr("172.24.254.1"),
		GatewayMAC: net.HardwareAddr{0x02, 0x4c, 0, 0, 0, 1},
		Infra:      []netip.Prefix{netip.MustParsePrefix("172.24.0.0/24"), netip.MustParsePrefix("172.24.254.0/24")},
		Index:      f.Index, VTEP: f.VTEP, Own: f.Own, Forwards: f.Forwards, Peers: f.Peers, Cluster: f.Cluster, Deny: f.Deny, Allow: f.Allow,
	}
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	return c
}

// What LXD would answer, in; the desired state, out. Each file holds LXD's own JSON, so that it is the whole way that
// is tested: `lxd/<path>` is the metadata of an answer.
func TestBuild(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var fc fileConfig
			var want []byte
			lxd := newFakeLXD(t)
			for _, f := range ar.Files {
				switch {
				case f.Name == "config":
					d := json.NewDecoder(bytes.NewReader(f.Data))
					d.DisallowUnknownFields()
					if err := d.Decode(&fc); err != nil {
						t.Fatal(err)
					}
				case f.Name == "want":
					want = f.Data
				case strings.HasPrefix(f.Name, "lxd/"):
					lxd.answer(strings.TrimPrefix(f.Name, "lxd"), f.Data)
				default:
					t.Fatalf("what is %s?", f.Name)
				}
			}
			got := render(look(t, lxd, fc))
			if *update {
				ar.Files = slices.DeleteFunc(ar.Files, func(f txtar.File) bool { return f.Name == "want" })
				ar.Files = append(ar.Files, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// look reads everything once through the real store, and builds.
func look(t *testing.T, lxd *fakeLXD, fc fileConfig) Desired {
	t.Helper()
	store := lxd.store(t)
	a := &Agent{c: fc.config(t), src: store}
	k, err := a.readCluster(t.Context(), known{})
	if err != nil {
		t.Fatal(err)
	}
	if k.local, err = a.readLocal(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n, l := range fc.Links {
		l.Name = n
		fc.Links[n] = l
	}
	v := View{Self: k.self(), Instances: k.instances(), Members: k.members, Links: fc.Links}
	d := Build(a.c, v)
	checkState(t, a.c, d)
	// The order in which LXD lists things must not matter.
	slices.Reverse(v.Instances)
	slices.Reverse(v.Members)
	if again := Build(a.c, v); !reflect.DeepEqual(d.State, again.State) || !reflect.DeepEqual(d.Reservations, again.Reservations) {
		t.Errorf("the order of the list changes the result:\n%s\nand\n%s", render(d), render(again))
	}
	return d
}

func render(d Desired) string {
	var b strings.Builder
	at := func(a netip.Addr) string {
		if !a.IsValid() {
			return "here"
		}
		return a.String()
	}
	for _, p := range d.State.Peers {
		fmt.Fprintf(&b, "peer %s %s foreign=%v\n", p.VTEP, cmp.Or(d.Names[p.VTEP], "-"), p.Foreign)
	}
	for _, p := range d.State.Ports {
		fmt.Fprintf(&b, "port %d %s %s %s kind=%d %s\n", p.Ifindex, p.Name, p.MAC, p.IP, p.Kind, p.Owner)
	}
	for _, e := range d.State.Endpoints {
		fmt.Fprintf(&b, "endpoint %s %s at %s port %d infra=%v %s\n", e.IP, e.MAC, at(e.VTEP), e.Ifindex, e.Infra, cmp.Or(e.Owner, "-"))
	}
	for _, f := range d.State.Forwards {
		proto := map[dataplane.Proto]string{dataplane.TCP: "tcp", dataplane.UDP: "udp"}[f.Proto]
		fmt.Fprintf(&b, "forward %s %s -> %s entry %s %s\n", proto, f.External, f.Target, at(f.Entry), f.Owner)
	}
	fmt.Fprintf(&b, "deny %v\nallow %v\n", d.State.Deny, d.State.Allow)
	for _, r := range d.Reservations {
		fmt.Fprintf(&b, "lease %s %s %s port %d\n", r.MAC, r.IP, r.Hostname, r.Ifindex)
	}
	for _, p := range d.Problems {
		fmt.Fprintf(&b, "problem %s\n", p.Error())
	}
	return b.String()
}

// Whatever the records say, the state keeps its promises.
func checkState(t interface{ Errorf(string, ...any) }, c Config, d Desired) {
	seen := map[string]bool{}
	once := func(what string, v any) {
		key := fmt.Sprint(what, v)
		if seen[key] {
			t.Errorf("%s %v is there twice", what, v)
		}
		seen[key] = true
	}
	peers := map[netip.Addr]bool{{}: true}
	for _, p := range d.State.Peers {
		once("peer", p.VTEP)
		peers[p.VTEP] = true
	}
	owners := map[netip.Addr]string{}
	for _, e := range d.State.Endpoints {
		once("endpoint", e.IP)
		once("endpoint MAC", e.MAC)
		if !peers[e.VTEP] || !c.Prefix.Contains(e.IP) || e.IP == c.Gateway || e.MAC[0]&1 != 0 {
			t.Errorf("endpoint %+v", e)
		}
		infra := slices.ContainsFunc(c.Infra, func(p netip.Prefix) bool { return p.Contains(e.IP) })
		if infra != e.Infra || e.Infra != (e.Owner == "") {
			t.Errorf("endpoint %+v: a webspace and infrastructure are mixed up", e)
		}
		owners[e.IP] = e.Owner
	}
	for _, p := range d.State.Ports {
		once("ifindex", p.Ifindex)
		if owners[p.IP] != p.Owner || p.Owner == "" || p.Ifindex == 0 {
			t.Errorf("port %+v is nobody's", p)
		}
	}
	for _, f := range d.State.Forwards {
		once("forward", fmt.Sprint(f.External, f.Proto))
		if owners[f.Target.Addr()] != f.Owner || !peers[f.Entry] || f.Target.Port() == 0 ||
			f.External.Port() < c.ForwardPorts.First || f.External.Port() > c.ForwardPorts.Last {
			t.Errorf("forward %+v", f)
		}
	}
	for _, r := range d.Reservations {
		once("lease", r.MAC)
		if owners[r.IP] != r.Hostname || r.Ifindex == 0 {
			t.Errorf("lease %+v is nobody's", r)
		}
	}
}

var (
	_ Source = (*webspace.Store)(nil)
	_ Sink   = (*dataplane.Dataplane)(nil)
	_ Leases = (*dhcp.Server)(nil)
)
