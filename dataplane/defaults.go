package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Names and numbers that hold when Config says nothing.
const (
	DefaultBridge = "lanyard0"
	DefaultVXLAN  = "lanyard0-vx"
	DefaultTAP    = "lanyard0-pk"
	DefaultBPFFS  = "/sys/fs/bpf/lanyard"
	DefaultVNI    = 7331
	DefaultPort   = 4789
)

// infraMax is INFRA_MAX of bpf/config.h.
const infraMax = 8

// ifNameMax is IFNAMSIZ without its final zero.
const ifNameMax = 15

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// WithDefaults fills in what was left at zero. Open does it by itself; it is exported for those who show or compare
// a configuration.
func (c Config) WithDefaults() Config {
	def(&c.Bridge, DefaultBridge)
	def(&c.VXLAN, DefaultVXLAN)
	def(&c.TAP, DefaultTAP)
	def(&c.BPFFS, DefaultBPFFS)
	def(&c.Version, "unknown")
	def(&c.VNI, DefaultVNI)
	def(&c.Port, DefaultPort)
	def(&c.XDP, XDPOff)
	def(&c.Uplink, c.Underlay)
	def(&c.UplinkIP, c.VTEP)
	// Below Linux' ephemeral range (32768 - 60999), above what services listen on.
	def(&c.NATPorts, PortRange{16384, 32767})
	def(&c.Sizes.Flows, 65536)
	def(&c.Sizes.Forwards, 16384)
	def(&c.Sizes.Endpoints, 16384)
	def(&c.Sizes.Peers, 1024)
	def(&c.Sizes.Tracks, 65536)
	def(&c.Sizes.Frags, 8192)
	def(&c.Timeouts.TCPEstablished, 2*time.Hour+4*time.Minute)
	def(&c.Timeouts.TCPTransitory, 4*time.Minute)
	def(&c.Timeouts.TCPClosed, 10*time.Second) // as nf_conntrack's CLOSE: the tuple is reused early, not the table filled
	def(&c.Timeouts.UDP, 3*time.Minute)
	def(&c.Timeouts.UDPUnanswered, 30*time.Second)
	def(&c.Timeouts.ICMP, time.Minute)
	return c
}

// check refuses what no node could run with.
func (c Config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	in := func(name string, ip netip.Addr) {
		if !ip.Is4() || !c.Prefix.Contains(ip) {
			bad("%s %v is not an IPv4 address inside the LAN %v", name, ip, c.Prefix)
		}
	}
	if !c.Prefix.IsValid() || !c.Prefix.Addr().Is4() || c.Prefix != c.Prefix.Masked() {
		bad("the LAN prefix %v is not an IPv4 network address", c.Prefix)
	}
	in("the gateway", c.Gateway)
	in("the node's address", c.NodeIP)
	if c.NodeIP == c.Gateway {
		bad("the node and the gateway share the address %v", c.NodeIP)
	}
	if !unicast(c.GatewayMAC) {
		bad("the gateway's MAC %q is not a unicast address", c.GatewayMAC)
	}
	if !unicast(c.NodeMAC) {
		bad("the node's MAC %q is not a unicast address", c.NodeMAC)
	}
	if c.GatewayMAC.String() == c.NodeMAC.String() {
		bad("the node and the gateway share the MAC %v: no device may have the gateway's", c.NodeMAC)
	}
	if len(c.Infra) > infraMax {
		bad("%d infrastructure ranges, at most %d are possible", len(c.Infra), infraMax)
	}
	for _, p := range c.Infra {
		if !p.IsValid() || !p.Addr().Is4() {
			bad("infrastructure range %v is not an IPv4 prefix", p)
		}
	}
	if c.VNI >= 1<<24 {
		bad("VNI %d does not fit into 24 bits", c.VNI)
	}
	if !c.VTEP.Is4() {
		bad("the tunnel address %v is not IPv4", c.VTEP)
	}
	if !c.UplinkIP.Is4() {
		bad("the source address of NAT %v is not IPv4", c.UplinkIP)
	}
	for what, name := range map[string]string{"bridge": c.Bridge, "VXLAN device": c.VXLAN, "parking device": c.TAP, "underlay": c.Underlay, "uplink": c.Uplink} {
		if name == "" || len(name) > ifNameMax {
			bad("the name of the %s is %q: it must have 1 to %d characters", what, name, ifNameMax)
		}
	}
	if c.MTU != 0 && (c.MTU < 576 || c.MTU > 65535-tunnelOverhead) {
		bad("the LAN's MTU %d is out of range", c.MTU)
	}
	if c.NATPorts.First == 0 || c.NATPorts.First > c.NATPorts.Last {
		bad("the range of NAT ports %d-%d is empty", c.NATPorts.First, c.NATPorts.Last)
	}
	switch c.XDP {
	case XDPOff, XDPNative, XDPGeneric:
	default:
		bad("XDP mode %q is none of off, native, generic", c.XDP)
	}
	for what, n := range map[string]int{
		"flows": c.Sizes.Flows, "forwards": c.Sizes.Forwards, "endpoints": c.Sizes.Endpoints,
		"peers": c.Sizes.Peers, "tracks": c.Sizes.Tracks, "frags": c.Sizes.Frags,
	} {
		if n < 1 || n > 1<<24 {
			bad("size of %s is %d, possible are 1 to %d", what, n, 1<<24)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the dataplane's configuration cannot be used: %w; correct it and start again", err)
	}
	return nil
}
