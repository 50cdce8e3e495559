package agent

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/lanyard-project/lanyard/webspace"
)

// Every webspace of the cluster and every node has a name: asleep, elsewhere, and on a node that is no peer (yet).
func TestNames(t *testing.T) {
	ip := netip.MustParseAddr
	one := func(uid int, node, address string, status webspace.Status) webspace.Instance {
		return webspace.Instance{Name: fmt.Sprint("ws-u", uid), UID: uid, Node: node, Status: status, NICType: "p2p",
			Record: webspace.Record{User: uid, Address: ip(address)}}
	}
	c := fileConfig{Index: 1, VTEP: ip("192.0.2.1"), Forwards: []netip.Addr{ip("192.0.2.1")}, Cluster: true,
		Peers: []Peer{{VTEP: ip("192.0.2.9"), Foreign: true}}}.config(t)
	c.Name = "N1.example.org"
	broken := one(5, "N1", "172.24.1.5", webspace.Running)
	broken.RecordErr = fmt.Errorf("no JSON")
	out := Build(c, View{Self: "N1", Members: []webspace.Member{
		{Name: "N1", Online: true}, {Name: "n2", Online: true, Node: webspace.Node{Index: 2, VTEP: ip("192.0.2.2"), Forwards: []netip.Addr{ip("192.0.2.2")}}}},
		Instances: []webspace.Instance{one(1, "N1", "172.24.1.1", webspace.Running), one(2, "N1", "172.24.1.2", webspace.Stopped),
			one(3, "n2", "172.24.1.3", webspace.Stopped), one(4, "n7", "172.24.1.4", webspace.Running), broken,
			one(6, "N1", "172.24.254.1", webspace.Running), one(7, "N1", "10.0.0.1", webspace.Running)}})
	want := "[{n1 172.24.0.1} {n2 172.24.0.2} {ws-u1 172.24.1.1} {ws-u2 172.24.1.2} {ws-u3 172.24.1.3} {ws-u4 172.24.1.4}]"
	if got := fmt.Sprint(out.Records); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// A node's address where forwards come in is public on purpose; the others are no business of names outside.
	if got := fmt.Sprint(out.Nodes); got != "[192.0.2.9]" {
		t.Error(got)
	}
}
