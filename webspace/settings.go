package webspace

import (
	"context"
	"net/netip"
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
	panic("skeleton")
}

// AddPort forwards an external port to a port of a webspace, and returns the external one. external 0: a random one.
//
// ErrTooManyPorts, ErrBadPort, and ErrUsed, in this order; ErrExhausted when there is no free port to choose.
func (s *Service) AddPort(ctx context.Context, uid int, proto Proto, external, internal int) (int, error) {
	panic("skeleton")
}

// RemovePort ends a forward; ErrNotFound when there is none, ErrBadPort for what is not a port at all.
func (s *Service) RemovePort(ctx context.Context, uid int, proto Proto, external int) error {
	panic("skeleton")
}

// AddDomain gives a webspace a custom domain, after finding a TXT record "webspace:id:<uid>" there (else ErrUnverified).
// ErrUsed when another webspace, or this one, has it.
func (s *Service) AddDomain(ctx context.Context, uid int, domain string) error { panic("skeleton") }

// RemoveDomain takes it away. username is the member's, whose default domain cannot be removed (ErrDefaultDomain).
func (s *Service) RemoveDomain(ctx context.Context, uid int, username, domain string) error {
	panic("skeleton")
}
