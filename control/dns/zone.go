package dns

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Times of what this node says itself.
const (
	hostTTL     = 60 // seconds: an address never changes, but a webspace may be deleted
	negativeTTL = 10 // seconds: so long a new webspace may be unknown to who has asked too early
)

// Record is one name of the zone.
type Record struct {
	Name string // one label, such as ws-u3
	IP   netip.Addr
}

// zone is everything that this node knows by itself; it is never changed, only replaced.
type zone struct {
	nodes  map[string]*node // by name in wire form, lower case
	loaded bool             // records have been heard of; before that the zone's names are unknown, not absent
	hosts  int
}

// node is one name. Its answers are packed, beginning with the pointer to the question's name.
type node struct {
	a, aaaa, ptr []byte
	soa, ns      []byte // of an apex: everything below it that has no node does not exist
	soaTail      []byte // soa without its owner
	apex         bool
	ours         bool // in the LAN's zones, where this node has authority
	alias        bool // of another node, outside of every zone of ours
	blocked      bool // it and everything below, by configuration
	forged       bool // its addresses come from the configuration, not from its own zone
}

// pointer to the question's name, which is always at the same place.
var pointer = []byte{0xc0, headerLen}

// builder makes a zone.
type builder struct {
	c    *Config
	z    zone
	held map[netip.Addr]string
	bad  []error
}

// newZone checks records. A bad one, or the second of a name or an address, is left out and reported. The static ones of
// the configuration come first: no record takes their names.
func newZone(c *Config, records []Record, loaded bool, now time.Time) (*zone, []error) {
	b := builder{c: c, z: zone{nodes: make(map[string]*node, 4*len(records)+64), loaded: loaded}, held: make(map[netip.Addr]string)}
	serial := uint32(now.Unix())
	own := "gateway." + c.Zone
	b.apex(c.Zone, own, serial).ours = true
	for _, r := range reverseZones(c.Prefix) {
		b.apex(r, own, serial).ours = true
	}
	// Names that must not leave a machine: RFC 6761, RFC 7686, RFC 9462.
	for _, name := range []string{"localhost", "invalid", "onion", "resolver.arpa"} {
		b.apex(name, own, serial)
	}
	local := b.node("localhost")
	local.a = addressRecord(netip.AddrFrom4([4]byte{127, 0, 0, 1}), hostTTL)
	local.aaaa = addressRecord(netip.IPv6Loopback(), hostTTL)
	for _, name := range c.Block {
		b.node(name).blocked = true
	}
	for _, o := range c.Override {
		n := b.node(o.Name)
		n.forged = true
		if o.IP.Is4() {
			n.a = append(n.a, addressRecord(o.IP, hostTTL)...)
		} else {
			n.aaaa = append(n.aaaa, addressRecord(o.IP, hostTTL)...)
		}
	}
	b.host(Record{"gateway", c.Gateway})
	for _, r := range slices.Concat(c.Names, records) {
		b.host(r)
	}
	return &b.z, b.bad
}

func (b *builder) node(name string) *node {
	key := string(wireName(name))
	n := b.z.nodes[key]
	if n == nil {
		n = &node{}
		b.z.nodes[key] = n
	}
	return n
}

func (b *builder) apex(name, server string, serial uint32) *node {
	n := b.node(name)
	rdata := wireName(server)
	rdata = append(rdata, wireName("hostmaster."+b.c.Zone)...)
	for _, v := range []uint32{serial, 3600, 600, 86400, negativeTTL} {
		rdata = binary.BigEndian.AppendUint32(rdata, v)
	}
	// The TTL of an SOA in a negative answer is at most its minimum (RFC 2308, section 3).
	n.soaTail = record(nil, typeSOA, negativeTTL, rdata)
	n.soa = append(slices.Clone(pointer), n.soaTail...)
	n.ns = record(slices.Clone(pointer), typeNS, hostTTL, wireName(server))
	n.apex = true
	return n
}

// host adds a name, its alias without the zone, and the way back.
func (b *builder) host(r Record) {
	label := strings.ToLower(r.Name)
	full := label + "." + b.c.Zone
	switch holder, taken := b.held[r.IP]; {
	case !isLabel(label) || len(full) > 253:
		b.bad = append(b.bad, fmt.Errorf("the name %.80q of %v is no label of a host name", r.Name, r.IP))
		return
	case !r.IP.Is4() || !b.c.Prefix.Contains(r.IP):
		b.bad = append(b.bad, fmt.Errorf("%v of %s is no address of the LAN %v", r.IP, full, b.c.Prefix))
		return
	case b.z.nodes[string(wireName(full))] != nil:
		b.bad = append(b.bad, fmt.Errorf("%s is taken, %v gets no name", full, r.IP))
		return
	case taken:
		b.bad = append(b.bad, fmt.Errorf("%v is already that of %s, %s gets no way back", r.IP, holder, full))
	}
	a := addressRecord(r.IP, hostTTL)
	n := b.node(full)
	n.a, n.ours = a, true
	b.z.hosts++
	if alias := string(wireName(label)); b.z.nodes[alias] == nil {
		b.z.nodes[alias] = &node{a: a, alias: true}
	}
	if b.held[r.IP] != "" {
		return
	}
	b.held[r.IP] = full
	ip := r.IP.As4()
	back := b.node(fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", ip[3], ip[2], ip[1], ip[0]))
	back.ptr, back.ours = record(slices.Clone(pointer), typePTR, hostTTL, wireName(full)), true
	// What lies between it and the apex exists, though it has nothing (RFC 8020).
	for rest := fmt.Sprintf("%d.%d.%d.in-addr.arpa", ip[2], ip[1], ip[0]); ; _, rest, _ = strings.Cut(rest, ".") {
		n := b.node(rest)
		n.ours = true
		if n.apex {
			return
		}
	}
}

// reverseZones are the zones of in-addr.arpa that a prefix of at most 24 bits fills, cut at octets.
func reverseZones(p netip.Prefix) []string {
	ip := p.Masked().Addr().As4()
	octets := (p.Bits() + 7) / 8
	var out []string
	for i := range 1 << (octets*8 - p.Bits()) {
		o := ip
		o[octets-1] += byte(i)
		var name strings.Builder
		for k := octets - 1; k >= 0; k-- {
			fmt.Fprintf(&name, "%d.", o[k])
		}
		out = append(out, name.String()+"in-addr.arpa")
	}
	return out
}

// record appends type, class IN, TTL and data to an owner.
func record(owner []byte, rrtype uint16, ttl uint32, rdata []byte) []byte {
	b := binary.BigEndian.AppendUint16(owner, rrtype)
	b = binary.BigEndian.AppendUint16(b, classIN)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rdata)))
	return append(b, rdata...)
}

func addressRecord(ip netip.Addr, ttl uint32) []byte {
	t := uint16(typeA)
	if ip.Is6() {
		t = typeAAAA
	}
	return record(slices.Clone(pointer), t, ttl, ip.AsSlice())
}

// wireName encodes a name that isDomain accepts; "" is the root.
func wireName(name string) []byte {
	var b []byte
	for label := range strings.SplitSeq(strings.ToLower(strings.TrimSuffix(name, ".")), ".") {
		if label == "" {
			break
		}
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

// isLabel says whether s is one label of a host name (RFC 1123, section 2.1), in lower case.
func isLabel(s string) bool {
	if len(s) == 0 || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// isDomain says whether s is a domain of such labels; underscores are allowed, as in _dmarc.
func isDomain(s string) bool {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(strings.ReplaceAll(label, "_", "x")) {
			return false
		}
	}
	return true
}
