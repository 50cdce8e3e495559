package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/control/dns"
)

func (c *Config) checkDNS() error {
	d := c.DNS
	for _, s := range d.Upstreams {
		if u, err := dns.ParseUpstream(s); err != nil {
			return bad("dns.upstreams", err.Error(), "list name servers that this node can reach")
		} else if u.Addr.Addr() == c.LAN.Gateway {
			return bad("dns.upstreams", s+" is the gateway: the server would ask itself", "list name servers outside of the LAN")
		}
	}
	for _, s := range d.Names {
		if r, err := dns.ParseRecord(s); err != nil {
			return bad("dns.names", err.Error(), "write label=address, such as control=172.24.254.2")
		} else if strings.Contains(r.Name, ".") || !c.LAN.Prefix.Contains(r.IP) {
			return bad("dns.names", fmt.Sprintf("%q is no label with an address of the LAN %v", s, c.LAN.Prefix), "write label=address, without lan.domain")
		}
	}
	for _, s := range d.Override {
		if _, err := dns.ParseRecord(s); err != nil {
			return bad("dns.override", err.Error(), "write name=address, with the whole name")
		}
	}
	for key, list := range map[string][]string{"dns.allow_rebind": d.AllowRebind, "dns.block": d.Block} {
		for _, s := range list {
			if !dns.IsDomain(s) {
				return bad(key, fmt.Sprintf("%q is no domain", s), "list domains such as example.org")
			}
		}
	}
	switch {
	case d.CA != "" && !strings.HasPrefix(d.CA, "/"):
		return bad("dns.ca", fmt.Sprintf("%q is no absolute path", d.CA), "leave it out to trust the system's")
	case d.Cache < 1 || d.Cache > 4096:
		return bad("dns.cache", fmt.Sprintf("%d is not between 1 and 4096 MiB", d.Cache), "leave it at 16")
	case d.Timeout < 100*time.Millisecond || d.Timeout > time.Minute:
		return bad("dns.timeout", fmt.Sprintf("%v is not between 100ms and a minute", d.Timeout), "leave it at 4s")
	case d.Rate < 0 || d.Rate > 1_000_000:
		return bad("dns.rate", fmt.Sprintf("%d is not between 0 and a million", d.Rate), "leave it at 1000")
	case d.Open < 1 || d.Open > 65536:
		return bad("dns.open", fmt.Sprintf("%d is not between 1 and 65536", d.Open), "leave it at 1024")
	case d.Share < 1 || d.Share > d.Open:
		return bad("dns.share", fmt.Sprintf("%d is not between 1 and dns.open, %d", d.Share, d.Open), "leave it at 128")
	}
	return nil
}
