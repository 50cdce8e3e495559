package account

import (
	"context"
	"net/netip"
	"time"
)

// Identity is a verified member.
type Identity struct {
	UID      int      // > 0; the member's webspace is ws-u<uid>
	Username string   // as CheckName wants it
	Admin    bool     // may use everybody's webspace, and the paths for administrators
	SSHKeys  []string // authorized_keys lines without options; empty: none known
}

// Provider knows members. All methods are safe for concurrent use, end with their context, and answer with *Error.
type Provider interface {
	// Authenticate verifies a bearer token (without the word Bearer).
	// ErrToken: it is none of ours; ErrExpired, ErrRevoked: it was; ErrUnavailable: nobody can tell now.
	Authenticate(ctx context.Context, bearer string) (Identity, error)
	// ByName finds a member by user name. ErrNotFound: there is none.
	// It does not ask whether the caller may know: whoever calls must.
	ByName(ctx context.Context, name string) (Identity, error)
	// ByUID finds a member by number. ErrNotFound: there is none.
	ByUID(ctx context.Context, uid int) (Identity, error)
}

// Passwords is what a Provider has that can exchange a password for a token (local and iam; oidc cannot).
type Passwords interface {
	// Login checks a password and issues a token. ErrPassword: name or password is wrong, which of them is not said;
	// ErrRateLimited: too many failures, see Error.RetryAfter. WithPeer tells it whose attempt this is.
	Login(ctx context.Context, name, password string) (token string, expires time.Time, err error)
	// Logout revokes a token. It is an error as from Authenticate if the token is not valid any more.
	Logout(ctx context.Context, bearer string) error
}

// Closer is a Provider that holds something open.
type Closer interface{ Close() error }

type peerKey struct{}

// WithPeer notes the address from which an attempt to log in came, so that failures are counted by address too.
func WithPeer(ctx context.Context, peer netip.Addr) context.Context {
	return context.WithValue(ctx, peerKey{}, peer.Unmap())
}

// Peer is the address that WithPeer noted, or the zero address.
func Peer(ctx context.Context) netip.Addr {
	a, _ := ctx.Value(peerKey{}).(netip.Addr)
	return a
}
