package apitest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lanyard-project/lanyard/webspace"
)

// Ports that are given out, and how many a webspace may have.
const (
	FirstPort, LastPort = 49152, 65535
	MaxPorts            = 4
	Domain              = "example.net"
)

// PatchConfig is api.Webspaces'.
func (w *Webspaces) PatchConfig(_ context.Context, uid int, p webspace.ConfigPatch) (before, after webspace.Config, err error) {
	err = w.change("PatchConfig", uid, func(s *space) error {
		before = s.Record.Config.Clone()
		c := before.Clone()
		if p.StartupDelay != nil {
			if *p.StartupDelay < 0 || *p.StartupDelay > 60 {
				return problem(webspace.ErrBadValue, "startupDelay cannot be used", "it must be from 0 to 60 seconds")
			}
			c.StartupDelay = *p.StartupDelay
		}
		if p.HTTPPort != nil {
			c.HTTPPort = uint16(*p.HTTPPort)
		}
		if p.SNIPassthrough != nil {
			c.SNIPassthrough = *p.SNIPassthrough
		}
		if p.WakePolicy != nil {
			c.Wake.Policy = *p.WakePolicy
		}
		if p.WakeAllow != nil {
			c.Wake.Allow = *p.WakeAllow
		}
		for f, r := range p.WakeRules {
			if r == nil {
				delete(c.Wake.Forwards, f)
				continue
			}
			if c.Wake.Forwards == nil {
				c.Wake.Forwards = map[webspace.Forward]webspace.WakeRule{}
			}
			c.Wake.Forwards[f] = *r
		}
		if p.NapAfter != nil {
			c.Idle.NapAfter = *p.NapAfter
		}
		if p.SleepAfter != nil {
			c.Idle.SleepAfter = *p.SleepAfter
		}
		if p.OOMSkip != nil {
			c.Idle.OOMSkip = *p.OOMSkip
		}
		s.Record.Config, after = c, c.Clone()
		return nil
	})
	return before, after, err
}

func ports(r *webspace.Record, proto webspace.Proto) webspace.Ports {
	if proto == webspace.UDP {
		return r.UDPPorts
	}
	return r.Ports
}

func (w *Webspaces) taken(proto webspace.Proto, port uint16) bool {
	for _, s := range w.all {
		if _, ok := ports(&s.Record, proto)[port]; ok {
			return true
		}
	}
	return false
}

func (w *Webspaces) free(proto webspace.Proto) uint16 {
	for p := FirstPort; p <= LastPort; p++ {
		if !w.taken(proto, uint16(p)) {
			return uint16(p)
		}
	}
	return 0
}

// AddPort is api.Webspaces'.
func (w *Webspaces) AddPort(_ context.Context, uid int, proto webspace.Proto, external, internal int) (int, error) {
	err := w.change("AddPort", uid, func(s *space) error {
		what := fmt.Sprintf("could not forward port %d", external)
		switch {
		case len(s.Record.Ports)+len(s.Record.UDPPorts) >= MaxPorts:
			return problem(webspace.ErrTooManyPorts, what, "")
		case internal < 1 || internal > 65535, external != 0 && (external < FirstPort || external > LastPort):
			return problem(webspace.ErrBadPort, what, "")
		case external == 0:
			external = int(w.free(proto))
		case w.taken(proto, uint16(external)):
			return problem(webspace.ErrUsed, what, "")
		}
		ports(&s.Record, proto)[uint16(external)] = uint16(internal)
		return nil
	})
	return external, err
}

// RemovePort is api.Webspaces'.
func (w *Webspaces) RemovePort(_ context.Context, uid int, proto webspace.Proto, external int) error {
	return w.change("RemovePort", uid, func(s *space) error {
		what := fmt.Sprintf("could not remove port %d", external)
		if external < 1 || external > 65535 {
			return problem(webspace.ErrBadPort, what, "")
		}
		p := ports(&s.Record, proto)
		if _, ok := p[uint16(external)]; !ok {
			return problem(webspace.ErrNotFound, what, "")
		}
		delete(p, uint16(external))
		return nil
	})
}

// DefaultDomain is api.Webspaces'.
func (w *Webspaces) DefaultDomain(username string) string { return username + "." + Domain }

// AddDomain is api.Webspaces'.
func (w *Webspaces) AddDomain(_ context.Context, uid int, domain string) error {
	name, err := webspace.NormalDomain(domain)
	if err != nil {
		return err
	}
	return w.change("AddDomain", uid, func(s *space) error {
		what := "could not add the domain " + name
		_, used := w.domains[name]
		switch {
		case used:
			return problem(webspace.ErrUsed, what, "")
		case !w.txt[fmt.Sprintf("%s webspace:id:%d", name, uid)]:
			return problem(webspace.ErrUnverified, what, fmt.Sprintf("it has no TXT record webspace:id:%d", uid))
		}
		w.domains[name] = uid
		s.Record.Domains = append(s.Record.Domains, name)
		return nil
	})
}

// RemoveDomain is api.Webspaces'.
func (w *Webspaces) RemoveDomain(_ context.Context, uid int, username, domain string) error {
	return w.change("RemoveDomain", uid, func(s *space) error {
		what := "could not remove the domain"
		if strings.EqualFold(domain, w.DefaultDomain(username)) {
			return problem(webspace.ErrDefaultDomain, what, "")
		}
		name, err := webspace.NormalDomain(domain)
		if err != nil {
			return err
		}
		n := slices.Index(s.Record.Domains, name)
		if n < 0 {
			return problem(webspace.ErrNotFound, what, "")
		}
		delete(w.domains, name)
		s.Record.Domains = slices.Delete(s.Record.Domains, n, n+1)
		return nil
	})
}
