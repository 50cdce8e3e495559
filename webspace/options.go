package webspace

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
)

// NewService checks the options and fills in their defaults. LXD need not be there yet.
func NewService(o ServiceOptions) (*Service, error) {
	bad := func(what, cause string) (*Service, error) {
		return nil, &Problem{What: what + " cannot be used", Cause: cause, Next: "correct the section webspaces of the configuration", Kind: ErrInvalid}
	}
	if o.Store == nil {
		return bad("the webspaces", "no LXD is given")
	}
	var err error
	if o.Domain, err = NormalDomain(o.Domain); err != nil {
		return bad("the domain of webspaces", err.Error())
	}
	for k, zone := range o.ReservedDomains {
		if o.ReservedDomains[k] = strings.ToLower(strings.Trim(zone, ".")); o.ReservedDomains[k] == "" {
			return bad("the reserved domains", fmt.Sprintf("%q is not a domain", zone))
		}
	}
	if o.Defaults.HTTPPort == 0 {
		o.Defaults.HTTPPort = 80
	}
	for value, standard := range map[*time.Duration]time.Duration{
		&o.StopGrace: 30 * time.Second, &o.ForceTime: time.Minute, &o.StartTime: 90 * time.Second, &o.CreateTime: 15 * time.Minute,
		&o.ResyncEvery: 10 * time.Second, &o.RetryPause: 100 * time.Millisecond, &o.AddressWait: time.Minute, &o.SetupCommand: 5 * time.Minute,
	} {
		if *value == 0 {
			*value = standard
		}
		if *value < 0 {
			return bad("the time limits of webspaces", fmt.Sprintf("%v is negative", *value))
		}
	}
	if o.MaxStartupDelay == 0 {
		o.MaxStartupDelay = 60
	}
	if o.FirstPort == 0 && o.LastPort == 0 {
		o.FirstPort, o.LastPort = 49152, 65535
	}
	if o.MaxPorts == 0 {
		o.MaxPorts = 64
	}
	if o.MaxDomains == 0 {
		o.MaxDomains = 64
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.Hold == nil {
		o.Hold = func(int) func() { return func() {} }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.FirstPort == 0 || o.LastPort < o.FirstPort:
		return bad("the external ports", fmt.Sprintf("%d - %d is no range", o.FirstPort, o.LastPort))
	case o.MaxPorts < 0 || o.MaxPorts > MaxPorts:
		return bad("the limit of ports", fmt.Sprintf("%d is not between 1 and %d", o.MaxPorts, MaxPorts))
	case o.MaxDomains < 0 || o.MaxDomains > MaxDomains:
		return bad("the limit of domains", fmt.Sprintf("%d is not between 1 and %d", o.MaxDomains, MaxDomains))
	case o.MaxStartupDelay < 0 || o.MaxStartupDelay > 86400:
		return bad("the limit of the startup delay", fmt.Sprintf("%v is not between 0 and 86400 seconds", o.MaxStartupDelay))
	case o.Defaults.StartupDelay > o.MaxStartupDelay:
		return bad("the default startup delay", fmt.Sprintf("%v is over its limit %v", o.Defaults.StartupDelay, o.MaxStartupDelay))
	}
	if err := (Record{Config: o.Defaults}).Validate(); err != nil {
		return bad("the defaults of new webspaces", err.Error())
	}
	return &Service{o: o, store: o.Store, log: o.Log, maker: newMaker()}, nil
}
