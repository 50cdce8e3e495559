package agent

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lanyard-project/lanyard/webspace"
)

// Any cluster, with any mess in it: the state that comes out keeps its promises (checkState), and the mess of one
// webspace never costs another its place.
func TestBuildKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := testConfig()
		if err := c.check(); err != nil {
			rt.Fatal(err)
		}
		c.Forwards = []netip.Addr{c.VTEP}
		addr := func(label string) netip.Addr { // mostly good ones
			return netip.AddrFrom4([4]byte{172, byte(rapid.SampledFrom([]int{24, 24, 24, 24, 25}).Draw(rt, label)),
				byte(rapid.SampledFrom([]int{1, 1, 1, 0, 254}).Draw(rt, label)), byte(rapid.IntRange(0, 12).Draw(rt, label))})
		}
		v := View{Self: "n1", Links: map[string]Link{}}
		for n := 1; n <= 4; n++ {
			m := member(rapid.IntRange(1, 4).Draw(rt, "index"), false)
			m.Name = fmt.Sprint("n", n)
			if rapid.Bool().Draw(rt, "forwards") {
				m.Node.Forwards = []netip.Addr{m.Node.VTEP, c.VTEP}
			}
			if rapid.IntRange(0, 3).Draw(rt, "silent") == 0 {
				m.NodeErr = &webspace.Problem{What: "silent", Kind: webspace.ErrNotFound}
			}
			v.Members = append(v.Members, m)
			v.Links[fmt.Sprint("veth", n)] = Link{fmt.Sprint("veth", n), n + 10, rapid.SampledFrom([]string{"veth", "veth", "device"}).Draw(rt, "kind")}
		}
		for range rapid.IntRange(0, 10).Draw(rt, "count") {
			uid := rapid.IntRange(1, 12).Draw(rt, "uid")
			i := ws(uid, fmt.Sprint("n", rapid.IntRange(1, 5).Draw(rt, "node")), fmt.Sprint("veth", rapid.IntRange(0, 5).Draw(rt, "host")))
			i.Created = time.Unix(int64(rapid.IntRange(0, 2).Draw(rt, "created")), 0)
			i.Record.Address = addr("address")
			i.MAC = nil
			if rapid.Bool().Draw(rt, "mac") {
				i.MAC = webspace.MAC(addr("mac"))
			}
			i.Record.Ports = rapid.MapOf(rapid.SampledFrom([]uint16{1, 22, 50000, 50001, 65535}), rapid.Uint16Range(1, 9)).Draw(rt, "tcp")
			i.Record.UDPPorts = rapid.MapOf(rapid.SampledFrom([]uint16{53, 50000, 50001}), rapid.Uint16Range(1, 9)).Draw(rt, "udp")
			i.NICType = rapid.SampledFrom([]string{"p2p", "p2p", "p2p", "bridged", ""}).Draw(rt, "nic")
			v.Instances = append(v.Instances, i)
		}
		d := Build(c, v)
		checkState(rt, c, d)

		// A further webspace, the youngest, that wants what others have: nobody else may notice.
		thief := ws(77, "n1", "veth1")
		thief.Created = time.Unix(100, 0)
		thief.Record.Address = addr("stolen")
		thief.MAC = nil
		thief.Record.Ports = webspace.Ports{50000: 1, 50001: 2}
		v.Instances = append(v.Instances, thief)
		after := Build(c, v)
		checkState(rt, c, after)
		for _, e := range d.State.Endpoints {
			if e.Owner == "" {
				continue
			}
			if now, ok := endpoint(after.State, atoi(e.Owner)); !ok || now.IP != e.IP || now.VTEP != e.VTEP || now.Ifindex != e.Ifindex {
				rt.Fatalf("%+v became %+v", e, now)
			}
		}
		lost := make(map[string]bool)
		for _, f := range after.State.Forwards {
			lost[fmt.Sprint(f)] = true
		}
		for _, f := range d.State.Forwards {
			if !lost[fmt.Sprint(f)] {
				rt.Fatalf("%+v is gone", f)
			}
		}
	})
}

func atoi(owner string) (uid int) {
	_, _ = fmt.Sscanf(owner, "ws-u%d", &uid)
	return uid
}
