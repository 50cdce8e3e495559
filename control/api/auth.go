package api

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/webspace"
)

var bearerShape = regexp.MustCompile(`^Bearer\s+(\S+)$`)

// Subprotocols of websockets: the plain one, which the server chooses, and the one that carries a token for browsers.
const (
	Subprotocol       = "lanyard.v1"
	bearerSubprotocol = "lanyard.bearer."
	maxToken          = 16 << 10 // bytes
)

// bearer is the token that a request carries, or "".
func bearer(r *http.Request) string {
	if m := bearerShape.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		return m[1]
	}
	if !isWebsocket(r) {
		return ""
	}
	for _, p := range offered(r) {
		if coded, ok := strings.CutPrefix(p, bearerSubprotocol); ok {
			if token, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(coded, "=")); err == nil {
				return string(token)
			}
			return "?" // a token, and one that nobody accepts
		}
	}
	return ""
}

// offered are the subprotocols that a websocket client offers.
func offered(r *http.Request) []string {
	var all []string
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			all = append(all, strings.TrimSpace(p))
		}
	}
	return all
}

func isWebsocket(r *http.Request) bool {
	upgrade := false
	for _, line := range r.Header.Values("Connection") {
		upgrade = upgrade || slices.ContainsFunc(strings.Split(line, ","), func(t string) bool { return strings.EqualFold(strings.TrimSpace(t), "upgrade") })
	}
	return upgrade && r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// root is who comes through the unix socket: only the machine's root can open it.
var root = account.Identity{UID: 0, Username: "root", Admin: true}

// authenticate finds out who is calling.
func (s *Server) authenticate(r *http.Request, c *call) error {
	if c.local {
		c.caller = root
		return nil
	}
	token := bearer(r)
	switch {
	case token == "":
		return fail(codeTokenMissing, "", "")
	case len(token) > maxToken:
		return fail(codeTokenInvalid, "", "")
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.o.ReadTime)
	defer cancel()
	who, err := s.o.Accounts.Authenticate(ctx, token)
	if err != nil {
		return err
	}
	c.caller, c.token = who, token
	return nil
}

// target is whose webspace a request is about: {username} of the path. What is not the caller's own is for admins; to
// everybody else all other members look the same, whether they exist or not.
func (s *Server) target(ctx context.Context, username string) (account.Identity, error) {
	c := callOf(ctx)
	digits, byID := strings.CutPrefix(username, "id:")
	uid, err := strconv.Atoi(digits)
	byID = byID && err == nil && strconv.Itoa(uid) == digits
	switch {
	case username == "self" && c.local:
		return account.Identity{}, fail(codeUser, "", "the unix socket has no webspace of its own; use a name or id:<uid>")
	case username == "self", !c.local && username == c.caller.Username, !c.local && byID && uid == c.caller.UID:
		return c.caller, nil
	case !c.caller.Admin:
		return account.Identity{}, fail(codeForeign, "", "")
	case !byID:
		if strings.HasPrefix(username, "id:") || len(username) > 256 {
			return account.Identity{}, fail(codeUser, "", "")
		}
		return s.o.Accounts.ByName(ctx, username)
	}
	if uid < 0 || uid > webspace.MaxUID {
		return account.Identity{}, fail(codeUser, "", "")
	}
	who, err := s.o.Accounts.ByUID(ctx, uid)
	if err == nil || !errors.Is(err, account.ErrNotFound) {
		return who, err
	}
	// The webspace of an account that is gone must still be seen, and be deleted.
	switch _, missing := s.o.Webspaces.Get(ctx, uid); {
	case errors.Is(missing, webspace.ErrNotFound):
		return account.Identity{}, err
	case missing != nil: // nobody knows whether there is one
		return account.Identity{}, missing
	}
	return account.Identity{UID: uid}, nil
}

// peer is the address of the client: the connection's, or what proxies that are trusted say, the last first.
func (s *Server) peer(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	at = at.Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for n := len(hops) - 1; n >= 0 && s.trusted(at); n-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[n]))
		if err != nil {
			break
		}
		at = hop.Unmap().WithZone("")
	}
	return at
}

func (s *Server) trusted(a netip.Addr) bool {
	return slices.ContainsFunc(s.o.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
}
