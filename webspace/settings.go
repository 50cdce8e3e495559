package webspace

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"
)

// ConfigPatch changes what is not nil.
type ConfigPatch struct {
	StartupDelay   *float64
	HTTPPort       *int
	SNIPassthrough *bool

	WakePolicy *Policy
	WakeAllow  *[]netip.Prefix
	WakeRules  map[Forward]*WakeRule // of single forwards; nil: back to the webspace's

	NapAfter, SleepAfter *time.Duration // 0: never
	OOMSkip              *bool
}

// PatchConfig changes the configuration of a webspace. A value that is not allowed is ErrBadValue, and nothing is changed.
func (s *Service) PatchConfig(ctx context.Context, uid int, p ConfigPatch) (before, after Config, err error) {
	if err := s.checkPatch(p); err != nil {
		return Config{}, Config{}, err
	}
	err = s.update(ctx, uid, func(r *Record) error {
		before = r.Config.Clone()
		if err := p.apply(r); err != nil {
			return err
		}
		after = r.Config.Clone()
		return nil
	})
	return before, after, err
}

// update edits the record of a webspace.
func (s *Service) update(ctx context.Context, uid int, change func(*Record) error) error {
	err := s.store.Update(ctx, s.store.Name(uid), change)
	var p *Problem
	if errors.Is(err, ErrNotFound) && errors.As(err, &p) && p.Err != nil { // LXD's words, not those of change
		return s.notFound(uid, err)
	}
	return err
}

func badValue(name, cause string) error {
	return &Problem{What: "could not change " + name, Cause: cause, Next: "see what is allowed: lanyard ws config --help", Kind: ErrBadValue}
}

func (s *Service) checkPatch(p ConfigPatch) error {
	if d := p.StartupDelay; d != nil && !(*d >= 0 && *d <= s.o.MaxStartupDelay) { // written so that NaN is refused
		return badValue("startupDelay", fmt.Sprintf("%v is not between 0 and %v seconds", *d, s.o.MaxStartupDelay))
	}
	if port := p.HTTPPort; port != nil && (*port < 1 || *port > math.MaxUint16) {
		return badValue("httpPort", fmt.Sprintf("%d is not between 1 and 65535", *port))
	}
	var c Config
	if p.WakePolicy != nil {
		c.Wake.Policy = *p.WakePolicy
	}
	if p.WakeAllow != nil {
		c.Wake.Allow = *p.WakeAllow
	}
	c.Wake.Forwards = make(map[Forward]WakeRule)
	for f, r := range p.WakeRules {
		if r != nil {
			c.Wake.Forwards[f] = *r
		}
	}
	if p.NapAfter != nil {
		c.Idle.NapAfter = *p.NapAfter
	}
	if p.SleepAfter != nil {
		c.Idle.SleepAfter = *p.SleepAfter
	}
	if err := c.validatePolicy(); err != nil {
		var bad *Problem
		if errors.As(err, &bad) {
			return badValue("the wake or idle policy", bad.Cause)
		}
		return err
	}
	return nil
}

func (p ConfigPatch) apply(r *Record) error {
	c := &r.Config
	set(&c.StartupDelay, p.StartupDelay)
	if p.HTTPPort != nil {
		c.HTTPPort = uint16(*p.HTTPPort)
	}
	set(&c.SNIPassthrough, p.SNIPassthrough)
	set(&c.Wake.Policy, p.WakePolicy)
	if p.WakeAllow != nil {
		c.Wake.Allow = slices.Clone(*p.WakeAllow)
	}
	for f, rule := range p.WakeRules {
		if rule == nil {
			delete(c.Wake.Forwards, f)
			continue
		}
		if !r.Has(f) {
			return badValue("the wake policy of "+f.String(), "there is no such forward")
		}
		if c.Wake.Forwards == nil {
			c.Wake.Forwards = make(map[Forward]WakeRule)
		}
		c.Wake.Forwards[f] = WakeRule{rule.Policy, slices.Clone(rule.Allow)}
	}
	set(&c.Idle.NapAfter, p.NapAfter)
	set(&c.Idle.SleepAfter, p.SleepAfter)
	set(&c.Idle.OOMSkip, p.OOMSkip)
	return nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// Has says whether a record has a forward.
func (r Record) Has(f Forward) bool {
	_, ok := r.ports(f.Proto)[f.Port]
	return ok
}

func (r Record) ports(p Proto) Ports {
	if p == UDP {
		return r.UDPPorts
	}
	return r.Ports
}

// setPort adds a forward, or with internal 0 removes it and its own wake rule.
func (r *Record) setPort(f Forward, internal uint16) {
	to := &r.Ports
	if f.Proto == UDP {
		to = &r.UDPPorts
	}
	if internal == 0 {
		delete(*to, f.Port)
		delete(r.Config.Wake.Forwards, f)
		return
	}
	if *to == nil {
		*to = make(Ports)
	}
	(*to)[f.Port] = internal
}
