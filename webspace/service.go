package webspace

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"time"
)

// Service is what members and the parts of the control plane do with webspaces. It works on the truth in LXD through a
// Store, keeps what must be unique unique, and gives errors whose kinds a REST API can map to status codes:
//
//	ErrNotFound, ErrNotRunning                                404
//	ErrExists, ErrUsed, ErrRunning, ErrConflict, ErrNoConsole 409
//	ErrInvalid and the kinds within it                        400
//	ErrUnavailable, ErrNoAddress                              503
//	everything else                                           500
//
// Every method that needs a webspace's processes thaws one that is napping first, and keeps it from being put to sleep
// until the method returns. Safe for concurrent use. One Service per cluster may allocate (the leader's); the others may
// do everything else.
type Service struct {
	o     ServiceOptions
	store *Store
	log   *slog.Logger
	maker string // who makes its creations

	work     keyed    // one change of power, creation or deletion of a webspace at a time
	index    index    // who has which external port and domain
	sessions sessions // open consoles
	starts   flights  // one start of a webspace at a time, however many ask for it
	ready    flights  // the same, until it can be used
	view     view     // what Run last saw, and who wants to hear of changes
}

// ServiceOptions of NewService.
type ServiceOptions struct {
	Store *Store

	// Domain is the platform's own zone: a member's default name is <username>.<Domain>, and no custom domain may be in it.
	Domain string
	// ReservedDomains are further zones that nobody can claim, such as the LAN's own.
	ReservedDomains []string

	Defaults        Config  // of new webspaces; zero: startupDelay 3, httpPort 80
	MaxStartupDelay float64 // seconds, 0: 60

	FirstPort, LastPort uint16 // external ports that may be given out; 0: 49152 - 65535
	MaxPorts            int    // per webspace, TCP and UDP together; 0: 64
	MaxDomains          int    // per webspace; 0: 64

	MTU            int               // of new webspaces' NIC; 0: LXD's default
	InstanceConfig map[string]string // of new webspaces, over the safe defaults; e.g. limits.memory, security.nesting
	StartNew       bool              // leave a new webspace running

	StopGrace    time.Duration // how long a webspace may take to shut down before it is stopped; 0: 30 s
	ForceTime    time.Duration // how long to go on trying to stop it by force; 0: 60 s
	StartTime    time.Duration // bound of one start by LXD; 0: 90 s
	CreateTime   time.Duration // bound of a whole creation, SSH server and all; 0: 15 min
	ResyncEvery  time.Duration // Run looks at everything again at least this often; 0: 10 s
	RetryPause   time.Duration // first pause between tries of what LXD refuses because it is busy; 0: 100 ms
	AddressWait  time.Duration // how long a started webspace may take to get an address, where one is needed; 0: 60 s
	SetupCommand time.Duration // bound of one command that sets up SSH; 0: 5 min

	Resolver Resolver // nil: the machine's
	Dial     DialFunc // to webspaces, to see whether a port answers; nil: net.Dialer
	Waker    Waker    // nil: the Service starts webspaces itself
	Hold     HoldFunc // nil: nobody puts webspaces to sleep
	Log      *slog.Logger
}

// Resolver looks up domains; *net.Resolver is one.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Waker starts or thaws a webspace and returns when it is ready, as the node's wake engine does.
type Waker interface {
	EnsureStarted(ctx context.Context, uid int) error
}

// HoldFunc keeps a webspace from being put to sleep until release is called.
type HoldFunc func(uid int) (release func())

// Store beneath the Service.
func (s *Service) Store() *Store { return s.store }

// DefaultDomain of a member.
func (s *Service) DefaultDomain(username string) string {
	return strings.ToLower(username) + "." + s.o.Domain
}

// DialFunc is net.Dialer.DialContext.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)
