package webspace

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Version of the record's layout that this code writes. It reads every earlier one, the seed system's included.
const Version = 1

// Limits of a record. They are far above what the product allows, so that they only stop nonsense and hostility.
const (
	MaxRecord  = 64 << 10 // bytes of JSON
	MaxPorts   = 4096     // per protocol
	MaxDomains = 1024
	MaxUID     = 1<<31 - 1
)

// Record is everything that is configured for one webspace.
//
// Its JSON extends the seed system's: `user`, `config`, `domains` and `ports` mean what they meant there. A reader
// of the old form keeps working, because UDP forwards stand beside the TCP ones and not among them.
//
//	{"version":1,"user":3,"address":"172.24.7.9",
//	 "config":{"startupDelay":5,"httpPort":80,"sniPassthrough":false,
//	  "wake":{"policy":"verified","forwards":{"tcp/64363":{"policy":"allowlist","allow":["192.0.2.0/24"]}}},
//	  "idle":{"napAfter":300,"sleepAfter":3600,"oomSkip":false}},
//	 "domains":["example.com"],"ports":{"64363":22},"udpPorts":{"64363":53}}
//
// Fields that this version does not know are kept, and written back as they were.
type Record struct {
	Version  int
	User     int        // the member's uid; the instance's name carries it too, and both must agree
	Address  netip.Addr // on the LAN; zero while none is allocated (a record imported from the seed)
	Config   Config
	Domains  []string // custom ones only; the default name is derived from the account
	Ports    Ports    // TCP
	UDPPorts Ports

	unknown map[string]json.RawMessage
}

// Config is what a member may set about a webspace.
type Config struct {
	StartupDelay   float64 // seconds; upper bound of the wait for a freshly started webspace
	HTTPPort       uint16
	SNIPassthrough bool
	Wake           Wake
	Idle           Idle

	unknown map[string]json.RawMessage
}

// Ports maps an external port to a port of the webspace. In JSON the keys are decimal strings.
type Ports map[uint16]uint16

// Clone returns a deep copy.
func (r Record) Clone() Record {
	r.Domains = slices.Clone(r.Domains)
	r.Ports = maps.Clone(r.Ports)
	r.UDPPorts = maps.Clone(r.UDPPorts)
	r.unknown = maps.Clone(r.unknown)
	r.Config = r.Config.Clone()
	return r
}

// Validate reports the first thing that makes the record unusable, as a *Problem of kind ErrInvalid.
func (r Record) Validate() error {
	switch {
	case r.Version > Version:
		return invalid(fmt.Sprintf("version %d is newer than %d, which is all that this lanyardd knows", r.Version, Version),
			"upgrade lanyardd on this node")
	case r.Version < 0:
		return invalid(fmt.Sprintf("version %d is not a version", r.Version), "")
	case r.User < 0 || r.User > MaxUID:
		return invalid(fmt.Sprintf("user %d is not between 0 and %d", r.User, MaxUID), "")
	case r.Address.IsValid() && (!r.Address.Is4() || r.Address.IsUnspecified() || r.Address.IsMulticast() || r.Address.IsLoopback()):
		return invalid(fmt.Sprintf("address %s is not a unicast IPv4 address", r.Address), "")
	case len(r.Domains) > MaxDomains:
		return invalid(fmt.Sprintf("%d domains, the limit is %d", len(r.Domains), MaxDomains), "")
	case r.Config.StartupDelay < 0 || r.Config.StartupDelay > 86400:
		return invalid(fmt.Sprintf("startupDelay %v is not between 0 and 86400 seconds", r.Config.StartupDelay), "")
	}
	if err := r.Config.validatePolicy(); err != nil {
		return err
	}
	for _, d := range r.Domains {
		if len(d) == 0 || len(d) > 253 || strings.ContainsFunc(d, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '/' || c == '`' || c == '"' }) {
			return invalid(fmt.Sprintf("domain %.80q is not a host name", d), "")
		}
	}
	for name, ports := range map[string]Ports{"ports": r.Ports, "udpPorts": r.UDPPorts} {
		if len(ports) > MaxPorts {
			return invalid(fmt.Sprintf("%d %s, the limit is %d", len(ports), name, MaxPorts), "")
		}
		for external, internal := range ports {
			if external == 0 || internal == 0 {
				return invalid(fmt.Sprintf("%s: %d -> %d: port 0 does not exist", name, external, internal), "")
			}
		}
	}
	return nil
}

func invalid(cause, next string) error {
	if next == "" {
		next = "look at it with: lxc config get <instance> " + Key
	}
	return &Problem{What: "the record cannot be used", Cause: cause, Next: next, Kind: ErrInvalid}
}
