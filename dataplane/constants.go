package dataplane

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/lanyard-project/lanyard/bpf"
)

// environ is what programs must know of this machine, besides the configuration.
type environ struct {
	bridge, vxlan int // interface indexes
	parking       int
	lanMTU        int
	uplinkMTU     int
}

// constants are the `const volatile` of bpf/config.h. A program sees them as constants from the day it is loaded.
func constants(c *Config, e environ) map[string]any {
	var infra [infraMax]bpf.TcPrefixKey
	for i, p := range c.Infra {
		infra[i] = wirePrefix(p)
	}
	return map[string]any{
		"vni":             c.VNI,
		"tunnel_port":     c.Port,
		"vtep":            wire(c.VTEP),
		"lan":             wirePrefix(c.Prefix),
		"infra":           infra,
		"gateway_ip":      wire(c.Gateway),
		"gateway_mac":     toMAC(c.GatewayMAC).key(),
		"node_ip":         wire(c.NodeIP),
		"node_mac":        toMAC(c.NodeMAC).key(),
		"nat_first":       c.NATPorts.First,
		"nat_last":        c.NATPorts.Last,
		"bridge_ifindex":  uint32(e.bridge),
		"route_ifindex":   uint32(e.vxlan),
		"parking_ifindex": uint32(e.parking),
		"lan_mtu":         uint16(e.lanMTU),
		"uplink_mtu":      uint16(e.uplinkMTU),
	}
}

// setConstants writes them into objects that are not loaded yet. One that an object does not know is an error: Go and
// C have come apart.
func setConstants(specs []*ebpf.CollectionSpec, values map[string]any) error {
	for _, spec := range specs {
		for name, value := range values {
			v, ok := spec.Variables[name]
			if !ok {
				return fmt.Errorf("the programs have no constant %q: generate bpf/ again", name)
			}
			if err := v.Set(value); err != nil {
				return fmt.Errorf("set the constant %s: %w", name, err)
			}
		}
	}
	return nil
}
