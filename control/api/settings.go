package api

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strings"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/webspace"
)

// GetConfig shows the settings.
func (o operations) GetConfig(w http.ResponseWriter, r *http.Request, username string) {
	o.read(w, r, username, func(ctx context.Context, who account.Identity) (any, error) {
		i, err := o.usable(ctx, who)
		c := configOf(i.Record.Config)
		if c.Wake.Policy == nil {
			rule := ruleOf(o.o.WakeRule)
			c.Wake.Default = &rule
		}
		return c, err
	})
}

// UpdateConfig changes those that are given, and answers with all as they were before.
func (o operations) UpdateConfig(w http.ResponseWriter, r *http.Request, username string) {
	var body wire.Config
	err := decode(w, r, &body)
	var patch webspace.ConfigPatch
	if err == nil {
		patch, err = patchOf(body)
	}
	if err != nil {
		o.problem(w, r, err)
		return
	}
	var before webspace.Config
	if o.change(w, r, username, change{action: "config.change", about: []slog.Attr{slog.Any("config", given(body))},
		do: func(ctx context.Context, who account.Identity) error {
			// Rules of single forwards are replaced as a whole: what is not named goes back to the webspace's.
			if patch.WakeRules != nil {
				now, err := o.usable(ctx, who)
				if err != nil {
					return err
				}
				for f := range now.Record.Config.Wake.Forwards {
					if patch.WakeRules[f] == nil {
						patch.WakeRules[f] = nil
					}
				}
			}
			var err error
			before, _, err = o.o.Webspaces.PatchConfig(ctx, who.UID, patch)
			return err
		}}) {
		reply(w, http.StatusOK, configOf(before))
	}
}

// given are the names of what a change sets.
func given(c wire.Config) []string {
	var names []string
	for name, set := range map[string]bool{"startupDelay": c.StartupDelay != nil, "httpPort": c.HTTPPort != nil,
		"sniPassthrough": c.SniPassthrough != nil, "wake": c.Wake != nil, "idle": c.Idle != nil} {
		if set {
			names = append(names, name)
		}
	}
	return names
}

func badValue(cause string) error { return fail(codeBadValue, "", cause) }

func patchOf(c wire.Config) (p webspace.ConfigPatch, err error) {
	if c.StartupDelay != nil {
		if math.IsNaN(*c.StartupDelay) || *c.StartupDelay < 0 {
			return p, badValue("startupDelay is not a number of seconds")
		}
		p.StartupDelay = c.StartupDelay
	}
	if c.HTTPPort != nil {
		port := int(*c.HTTPPort)
		if port < 1 || port > 65535 {
			return p, badValue("httpPort is not between 1 and 65535")
		}
		p.HTTPPort = &port
	}
	p.SNIPassthrough = c.SniPassthrough
	if i := c.Idle; i != nil {
		p.OOMSkip = i.OomSkip
		if i.NapAfter != nil {
			d, ok := seconds(*i.NapAfter)
			if !ok {
				return p, badValue("idle.napAfter is not between 0 seconds and a year")
			}
			p.NapAfter = &d
		}
		if i.SleepAfter != nil {
			d, ok := seconds(*i.SleepAfter)
			if !ok {
				return p, badValue("idle.sleepAfter is not between 0 seconds and a year")
			}
			p.SleepAfter = &d
		}
	}
	if c.Wake == nil {
		return p, nil
	}
	rule, err := ruleFrom("wake", wire.WakeRule{Policy: c.Wake.Policy, Allow: c.Wake.Allow})
	if err != nil {
		return p, err
	}
	if c.Wake.Policy != nil {
		p.WakePolicy = &rule.Policy
	}
	if c.Wake.Allow != nil {
		p.WakeAllow = &rule.Allow
	}
	if c.Wake.Forwards == nil {
		return p, nil
	}
	p.WakeRules = make(map[webspace.Forward]*webspace.WakeRule, len(*c.Wake.Forwards))
	for name, r := range *c.Wake.Forwards {
		var f webspace.Forward
		if err := f.UnmarshalText([]byte(name)); err != nil {
			return p, badValue("wake.forwards: " + clean(err.Error()))
		}
		rule, err := ruleFrom("wake.forwards."+f.String(), r)
		if err != nil {
			return p, err
		}
		p.WakeRules[f] = &rule
	}
	return p, nil
}

func ruleFrom(where string, r wire.WakeRule) (out webspace.WakeRule, err error) {
	if r.Policy != nil {
		out.Policy = webspace.Policy(*r.Policy)
		if !out.Policy.Valid() {
			return out, badValue(where + ".policy is none of any, verified, allowlist, never")
		}
	}
	if r.Allow == nil {
		return out, nil
	}
	out.Allow = []netip.Prefix{}
	for _, text := range *r.Allow {
		p, err := netip.ParsePrefix(text)
		if a, single := netip.ParseAddr(text); single == nil {
			p, err = a.Unmap().WithZone("").Prefix(a.Unmap().BitLen())
		}
		if err != nil || len(out.Allow) == webspace.MaxAllow {
			return out, badValue(where + ".allow must be at most 256 prefixes such as 192.0.2.0/24")
		}
		out.Allow = append(out.Allow, p.Masked())
	}
	return out, nil
}

// GetDomains lists the default domain and those of one's own.
func (o operations) GetDomains(w http.ResponseWriter, r *http.Request, username string) {
	o.read(w, r, username, func(ctx context.Context, who account.Identity) (any, error) {
		i, err := o.usable(ctx, who)
		all := wire.Domains{}
		if who.Username != "" {
			all = append(all, o.o.Webspaces.DefaultDomain(who.Username))
		}
		return append(all, i.Record.Domains...), err
	})
}

// AddDomain adds one after a look at its TXT records.
func (o operations) AddDomain(w http.ResponseWriter, r *http.Request, username, domain string) {
	if o.change(w, r, username, change{action: "domain.add", about: []slog.Attr{slog.String("domain", clip(domain, 300))},
		do: func(ctx context.Context, who account.Identity) error {
			return o.o.Webspaces.AddDomain(ctx, who.UID, domain)
		}}) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// RemoveDomain removes one of one's own.
func (o operations) RemoveDomain(w http.ResponseWriter, r *http.Request, username, domain string) {
	if o.change(w, r, username, change{action: "domain.remove", about: []slog.Attr{slog.String("domain", clip(domain, 300))},
		do: func(ctx context.Context, who account.Identity) error {
			return o.o.Webspaces.RemoveDomain(ctx, who.UID, who.Username, domain)
		}}) {
		w.WriteHeader(http.StatusNoContent)
	}
}

func isPortRoute(route string) bool {
	return strings.Contains(route, "/ports/") || strings.Contains(route, "/udpPorts/")
}
