package webspace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"
)

// domains are checked as a browser would before a lookup (RFC 5891, UTS 46), hyphens and letters by STD3.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// NormalDomain is the one form in which a domain is stored and compared: lower case, punycode, no final dot.
// ErrInvalid when it is not a domain that could be somebody's.
func NormalDomain(domain string) (string, error) {
	bad := func(cause string) (string, error) {
		return "", &Problem{What: fmt.Sprintf("%.80q is not a domain", domain), Cause: cause, Next: "use one such as www.example.com", Kind: ErrInvalid}
	}
	if len(domain) > 1024 {
		return bad("it is too long")
	}
	name := strings.TrimSuffix(domain, ".")
	ascii, err := domains.ToASCII(name)
	if err != nil {
		return bad(err.Error())
	}
	if ascii = strings.ToLower(ascii); !strings.Contains(ascii, ".") {
		return bad("it has only one label")
	}
	if _, err := netip.ParseAddr(ascii); err == nil {
		return bad("it is an address")
	}
	if last := ascii[strings.LastIndexByte(ascii, '.')+1:]; strings.Trim(last, "0123456789") == "" {
		return bad("its last label is a number")
	}
	return ascii, nil
}

// within says whether a domain is a zone, or in it. Both are normal.
func within(domain, zone string) bool {
	return domain == zone || strings.HasSuffix(domain, "."+zone)
}

// verifyTime bounds the lookup of a domain.
const verifyTime = 15 * time.Second

// AddDomain gives a webspace a custom domain, after finding a TXT record "webspace:id:<uid>" there (else ErrUnverified).
// ErrUsed when another webspace, or this one, has it.
func (s *Service) AddDomain(ctx context.Context, uid int, domain string) error {
	name, err := NormalDomain(domain)
	if err != nil {
		return err
	}
	for _, zone := range append([]string{s.o.Domain}, s.o.ReservedDomains...) {
		if within(name, zone) {
			return &Problem{What: "could not add " + name, Cause: zone + " is the platform's own", Next: "use a domain of yours", Kind: ErrUnverified}
		}
	}
	i, err := s.Get(ctx, uid)
	if err != nil {
		return err
	}
	if i.RecordErr != nil {
		return i.RecordErr
	}
	if err := s.indexed(ctx); err != nil {
		return err
	}
	if !s.index.claimDomain(uid, name) {
		if _, err := s.look(ctx); err != nil {
			return err
		}
		if !s.index.claimDomain(uid, name) {
			return usedDomain(name)
		}
	}
	if err = s.verify(ctx, uid, name); err == nil {
		err = s.update(ctx, uid, func(r *Record) error {
			if slices.ContainsFunc(r.Domains, func(d string) bool { return canonical(d) == name }) {
				return usedDomain(name)
			}
			if len(r.Domains) >= s.o.MaxDomains {
				return &Problem{What: "could not add " + name, Cause: fmt.Sprintf("there are %d domains, which is the limit", len(r.Domains)),
					Next: "remove one: lanyard ws domains remove", Kind: ErrInvalid}
			}
			r.Domains = append(r.Domains, name)
			return nil
		})
	}
	s.index.settleDomain(name, err == nil || unsure(err) && !errors.Is(err, ErrUnverified))
	if err != nil {
		return err
	}
	alone, err := s.alone(ctx, uid, func(r Record) bool {
		return slices.ContainsFunc(r.Domains, func(d string) bool { return canonical(d) == name })
	})
	if err == nil && !alone {
		err = errors.Join(usedDomain(name), s.RemoveDomain(ctx, uid, "", name))
	}
	return err
}

func usedDomain(name string) error {
	return &Problem{What: "could not add " + name, Cause: "a webspace has it", Next: "see yours: lanyard ws domains", Kind: ErrUsed}
}

// verify looks for the proof that a domain is the member's.
func (s *Service) verify(ctx context.Context, uid int, name string) error {
	want := fmt.Sprintf("webspace:id:%d", uid)
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	texts, err := s.o.Resolver.LookupTXT(ctx, name)
	if err == nil && slices.Contains(texts, want) {
		return nil
	}
	p := &Problem{
		What: "could not add " + name, Cause: "it has no such TXT record",
		Next: fmt.Sprintf("add a TXT record %q to %s, wait until it is published, and try again", want, name), Kind: ErrUnverified,
	}
	var dns *net.DNSError
	switch {
	case err == nil:
	case errors.As(err, &dns) && dns.IsNotFound:
		p.Cause = "it does not exist, or has no TXT record"
	default:
		p.Cause = "its name servers could not be asked: " + err.Error()
	}
	return p
}

// RemoveDomain takes it away. username is the member's, whose default domain cannot be removed (ErrDefaultDomain).
func (s *Service) RemoveDomain(ctx context.Context, uid int, username, domain string) error {
	name := canonical(domain)
	err := s.update(ctx, uid, func(r *Record) error {
		before := len(r.Domains)
		r.Domains = slices.DeleteFunc(r.Domains, func(d string) bool { return canonical(d) == name })
		switch {
		case len(r.Domains) < before:
			return nil
		case name == s.DefaultDomain(username):
			return &Problem{What: "could not remove " + name, Cause: "it is the name that every webspace has", Next: "see: lanyard ws domains", Kind: ErrDefaultDomain}
		}
		return &Problem{What: fmt.Sprintf("could not remove %.260q", name), Cause: "this webspace does not have it", Next: "see: lanyard ws domains", Kind: ErrNotFound}
	})
	if err == nil {
		s.index.settleDomain(name, false)
	}
	return err
}
