package dns

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// Defaults of Config.
const (
	DefaultCache    = 16 << 20
	DefaultTimeout  = 4 * time.Second
	DefaultRate     = 1000
	DefaultOpen     = 1024
	DefaultShare    = 128
	DefaultTCP      = 512
	DefaultTCPShare = 32
)

// Config is what a server is made with.
type Config struct {
	Listen    netip.AddrPort // the gateway's address, port 53
	Interface string         // queries must arrive by it or by the loopback; "": by any (tests)
	Zone      string         // such as webspace
	Prefix    netip.Prefix   // the LAN, IPv4, at most 24 bits
	Gateway   netip.Addr
	Names     []Record     // of the static plan, beside the gateway
	Own       []netip.Addr // further addresses of this node, which may ask too

	Upstreams []Upstream // none: names outside cannot be resolved
	// Private are addresses that no name outside may have, beside the LAN's (DNS rebinding).
	Private     []netip.Prefix
	AllowRebind []string // domains that may, with everything below
	Block       []string // domains that do not exist, with everything below
	Override    []Record // whole names with other addresses than the world says; several for one name are allowed

	Cache    int           // bytes; 0: DefaultCache
	Timeout  time.Duration // of a question to upstreams, all attempts together; 0: DefaultTimeout
	Rate     int           // queries per second of one webspace, and twice as many at once; 0: no limit
	Open     int           // questions that wait for upstreams; 0: DefaultOpen
	Share    int           // of them, for one webspace; 0: DefaultShare
	TCP      int           // connections; 0: DefaultTCP
	TCPShare int           // of them, for one webspace; 0: DefaultTCPShare
	Log      bool          // write a line for each query
	Settle   time.Duration // how long Run waits for the first records before it answers; 0: not at all

	Sockets Sockets // nil: sockets end with Run
}

// Sockets keeps open sockets across restarts of the daemon; *systemd.Store is one.
type Sockets interface {
	// Take gives a copy of a kept socket, or nil. It is the caller's.
	Take(name string) *os.File
	// Keep has a socket kept. The file stays the caller's.
	Keep(name string, f *os.File) error
}

// Upstream is a name server that answers about the whole world.
type Upstream struct {
	Addr netip.AddrPort
	TLS  bool   // DNS over TLS (RFC 7858)
	Name string // that its certificate must have; "": its address
	// Roots that its certificate must come from; nil: the system's.
	Roots *x509.CertPool
}

func (u Upstream) String() string {
	if !u.TLS {
		return u.Addr.String()
	}
	if u.Name == "" {
		return "tls://" + u.Addr.String()
	}
	return "tls://" + u.Addr.String() + "#" + u.Name
}

// ParseUpstream reads 192.0.2.53, 192.0.2.53:5353, [2001:db8::53]:53 or tls://192.0.2.53#dns.example.
func ParseUpstream(s string) (Upstream, error) {
	var u Upstream
	rest, port := s, uint16(53)
	if r, ok := strings.CutPrefix(s, "tls://"); ok {
		u.TLS, rest, port = true, r, 853
		rest, u.Name, _ = strings.Cut(rest, "#")
		if u.Name != "" && !isDomain(u.Name) {
			return u, fmt.Errorf("%q is no name of a certificate", u.Name)
		}
	}
	if a, err := netip.ParseAddr(strings.Trim(rest, "[]")); err == nil {
		u.Addr = netip.AddrPortFrom(a.Unmap(), port)
	} else if u.Addr, err = netip.ParseAddrPort(rest); err != nil {
		return u, fmt.Errorf("%q is no address of a name server, such as 192.0.2.53, 192.0.2.53:5353 or tls://192.0.2.53#dns.example", s)
	}
	if a := u.Addr.Addr(); a.IsUnspecified() || a.IsMulticast() || u.Addr.Port() == 0 {
		return u, fmt.Errorf("%q is no address that can be asked", s)
	}
	return u, nil
}

// ParseRecord reads name=address. The name has one label in the zone, or is whole in an override.
func ParseRecord(s string) (Record, error) {
	name, text, ok := strings.Cut(s, "=")
	ip, err := netip.ParseAddr(strings.TrimSpace(text))
	if name = strings.TrimSpace(name); !ok || err != nil || !isDomain(name) {
		return Record{}, fmt.Errorf("%q is no name=address, such as printer=172.24.0.9", s)
	}
	return Record{Name: strings.ToLower(strings.TrimSuffix(name, ".")), IP: ip.Unmap()}, nil
}

// IsDomain says whether s can stand in a list of domains.
func IsDomain(s string) bool { return isDomain(s) }

func (c *Config) check() error {
	for _, d := range []struct {
		value *int
		or    int
	}{{&c.Cache, DefaultCache}, {&c.Open, DefaultOpen}, {&c.Share, DefaultShare}, {&c.TCP, DefaultTCP}, {&c.TCPShare, DefaultTCPShare}} {
		if *d.value == 0 {
			*d.value = d.or
		}
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	c.Prefix = c.Prefix.Masked()
	c.Zone = strings.ToLower(strings.TrimSuffix(c.Zone, "."))
	switch {
	case !c.Listen.IsValid():
		return fmt.Errorf("dns: %v is no address to listen on", c.Listen)
	case !isDomain(c.Zone) || len(c.Zone) > 180:
		return fmt.Errorf("dns: the zone %q is no domain name", c.Zone)
	case !c.Prefix.IsValid() || !c.Prefix.Addr().Is4() || c.Prefix.Bits() > 24 || c.Prefix.Bits() < 8:
		return fmt.Errorf("dns: the LAN %v is no IPv4 prefix between /8 and /24", c.Prefix)
	case !c.Gateway.Is4() || !c.Prefix.Contains(c.Gateway):
		return fmt.Errorf("dns: the gateway %v is no address of the LAN %v", c.Gateway, c.Prefix)
	case c.Cache < 1<<16 || c.Cache > 1<<32:
		return fmt.Errorf("dns: a cache of %d bytes: between 64 KiB and 4 GiB", c.Cache)
	case c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute:
		return fmt.Errorf("dns: %v for an answer: between 100ms and a minute", c.Timeout)
	case c.Rate < 0 || c.Rate > 1e6:
		return fmt.Errorf("dns: %d queries per second: at most a million, 0 for no limit", c.Rate)
	case c.Open < 1 || c.Share < 1 || c.TCP < 1 || c.TCPShare < 1 || c.Open > 1<<16 || c.TCP > 1<<16:
		return fmt.Errorf("dns: limits of %d and %d open questions, %d and %d connections: between 1 and 65536", c.Open, c.Share, c.TCP, c.TCPShare)
	case slices.ContainsFunc(slices.Concat(c.AllowRebind, c.Block), func(d string) bool { return !isDomain(d) }):
		return fmt.Errorf("dns: the lists of domains hold one that is none: %q, %q", c.AllowRebind, c.Block)
	case slices.ContainsFunc(c.Override, func(r Record) bool { return !isDomain(r.Name) || !r.IP.IsValid() }):
		return fmt.Errorf("dns: an override has no name or no address: %v", c.Override)
	}
	return nil
}
