package webspace

import (
	"fmt"
	"net/netip"
	"strings"

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
