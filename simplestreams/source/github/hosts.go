package github

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// hosts are where requests may go.
type hosts struct {
	base    *url.URL
	usual   []string // must have public addresses
	trusted []string // the API's own host, and those of the configuration
	proxies *sync.Map
}

func newHosts(base *url.URL, more []string) hosts {
	h := hosts{base: base, trusted: []string{strings.ToLower(base.Host)}, proxies: &sync.Map{}}
	if base.Hostname() == "api.github.com" {
		h.trusted = nil
		h.usual = []string{"api.github.com", "github.com", "*.githubusercontent.com"}
	}
	for _, m := range more {
		h.trusted = append(h.trusted, strings.ToLower(m))
	}
	return h
}

// check says whether a URL may be fetched.
func (h hosts) check(u *url.URL) error {
	if u.Scheme != "https" && (u.Scheme != "http" || h.base.Scheme != "http") {
		return fmt.Errorf("it leads to %.100q, which is not https", u.Scheme+"://"+u.Host)
	}
	if u.User != nil || u.Host == "" || u.Opaque != "" {
		return errors.New("it leads to a URL with a user, or without a host")
	}
	if matches(h.trusted, u) || matches(h.usual, u) {
		return nil
	}
	return fmt.Errorf("it leads to the unknown host %.100q", u.Host)
}

func matches(patterns []string, u *url.URL) bool {
	name, host := strings.ToLower(u.Hostname()), strings.ToLower(u.Host)
	for _, p := range patterns {
		if suffix, ok := strings.CutPrefix(p, "*"); ok {
			if strings.HasPrefix(suffix, ".") && strings.HasSuffix(name, suffix) && u.Port() == "" {
				return true
			}
			continue
		}
		if p == host || p == name && (u.Port() == "" || u.Port() == "443") {
			return true
		}
	}
	return false
}

// transport dials those hosts only, and the usual ones only at public addresses: what a name leads to is looked at when
// the connection is made, so that no answer of a name server can lead inside.
func (h hosts) transport(t *http.Transport, timeout time.Duration) *http.Transport {
	if t == nil {
		t = http.DefaultTransport.(*http.Transport).Clone()
	}
	t.Proxy = func(req *http.Request) (*url.URL, error) {
		u, err := http.ProxyFromEnvironment(req)
		if u != nil {
			h.proxies.Store(withPort(u), true)
		}
		return u, err
	}
	open := &net.Dialer{Timeout: 15 * time.Second}
	guarded := &net.Dialer{Timeout: 15 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil || !public(a.Addr()) {
			return fmt.Errorf("it leads to %s, which is no public address", address)
		}
		return nil
	}}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		name, port, _ := net.SplitHostPort(address)
		u := &url.URL{Host: address}
		if port == "443" || port == "80" {
			u.Host = name
		}
		_, proxy := h.proxies.Load(address)
		if proxy || matches(h.trusted, u) || matches(h.trusted, &url.URL{Host: address}) {
			return open.DialContext(ctx, network, address)
		}
		return guarded.DialContext(ctx, network, address)
	}
	t.ResponseHeaderTimeout = timeout
	t.MaxIdleConnsPerHost = 8
	t.MaxResponseHeaderBytes = 64 << 10
	return t
}

func withPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443", "socks5": "1080"}[u.Scheme])
}

var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"),
}

// public says whether an address is one of the Internet's.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
