package webspace

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// Pool is the range of LAN addresses that webspaces get, inclusive at both ends.
type Pool struct {
	First, Last netip.Addr
}

// DefaultPool is the design's range: 64,767 addresses without those that end in .0 or .255.
var defaultPool = Pool{First: netip.AddrFrom4([4]byte{172, 24, 1, 1}), Last: netip.AddrFrom4([4]byte{172, 24, 253, 254})}

// DefaultPool returns 172.24.1.1 - 172.24.253.254.
func DefaultPool() Pool { return defaultPool }

// Contains says whether a belongs to the pool.
func (p Pool) Contains(a netip.Addr) bool {
	return a.Is4() && p.First.Compare(a) <= 0 && a.Compare(p.Last) <= 0 && usable(a)
}

// Validate reports a range that is not IPv4 or runs backwards.
func (p Pool) Validate() error {
	if !p.First.Is4() || !p.Last.Is4() || p.Last.Less(p.First) {
		return &Problem{
			What: fmt.Sprintf("the address range %s - %s cannot be used", p.First, p.Last), Cause: "it must be IPv4 and run upwards",
			Next: "correct the configuration", Kind: ErrInvalid,
		}
	}
	return nil
}

// Allocate picks an address for uid that is not used. It is a pure function: the search starts where uid hashes to, and takes the
// next free address from there. So a webspace that is deleted and created again usually gets its old address (and
// MAC) back, and two allocators that do not know of each other seldom choose the same one.
func (p Pool) Allocate(uid int, used func(netip.Addr) bool) (netip.Addr, error) {
	if err := p.Validate(); err != nil {
		return netip.Addr{}, err
	}
	first, last := number(p.First), number(p.Last)
	size := uint64(last) - uint64(first) + 1
	start := spread(uint64(uid)) % size
	for i := range size {
		a := address(first + uint32((start+i)%size))
		if usable(a) && !used(a) {
			return a, nil
		}
	}
	return netip.Addr{}, &Problem{
		What: "no LAN address is left", Cause: fmt.Sprintf("all of %s - %s are taken", p.First, p.Last),
		Next: "delete webspaces, or widen the range in the configuration", Kind: ErrExhausted,
	}
}

// MAC derives a MAC from a LAN address: 02:4c, then the four bytes of the IPv4 address. The first byte marks it as
// locally administered (IEEE 802-2014, 8.4), so it can meet no vendor's; 4c is "L". Webspaces and nodes use it alike:
// who knows an address knows its MAC, on every node, without asking.
func MAC(a netip.Addr) net.HardwareAddr {
	b := a.Unmap().As4()
	return net.HardwareAddr{0x02, 0x4c, b[0], b[1], b[2], b[3]}
}

// usable leaves out .0 and .255: legal inside a /16, but some systems still take them for network and broadcast.
func usable(a netip.Addr) bool {
	last := a.As4()[3]
	return last != 0 && last != 255
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// spread is the finaliser of splitmix64 (Steele, Lea, Flood 2014): neighbouring uids land far apart.
func spread(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}
