package apitest

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
)

// Accounts are an account.Provider with account.Passwords.
type Accounts struct {
	mu     sync.Mutex
	users  []account.Identity
	tokens map[string]error // nil: good
	owner  map[string]int
	pass   map[int]string
	failed error
}

// NewAccounts has these members; the token of each is "token-" and its name, the password is "password-" and its name.
func NewAccounts(users ...account.Identity) *Accounts {
	a := &Accounts{users: users, tokens: map[string]error{}, owner: map[string]int{}, pass: map[int]string{}}
	for _, u := range users {
		a.tokens["token-"+u.Username] = nil
		a.owner["token-"+u.Username] = u.UID
		a.pass[u.UID] = "password-" + u.Username
	}
	return a
}

// Token adds a token of a member; kind is what is wrong with it, or nil.
func (a *Accounts) Token(token string, uid int, kind error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens[token], a.owner[token] = kind, uid
}

// Set changes the account with this uid.
func (a *Accounts) Set(u account.Identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k := range a.users {
		if a.users[k].UID == u.UID {
			a.users[k] = u
		}
	}
}

// Fail makes everything fail with this, until it is nil again.
func (a *Accounts) Fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed = err
}

func (a *Accounts) find(match func(account.Identity) bool) (account.Identity, error) {
	if a.failed != nil {
		return account.Identity{}, a.failed
	}
	for _, u := range a.users {
		if match(u) {
			return u, nil
		}
	}
	return account.Identity{}, &account.Error{What: "no such account", Kind: account.ErrNotFound}
}

// Authenticate is account.Provider's.
func (a *Accounts) Authenticate(_ context.Context, bearer string) (account.Identity, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed != nil {
		return account.Identity{}, a.failed
	}
	kind, known := a.tokens[bearer]
	switch {
	case !known:
		return account.Identity{}, &account.Error{What: "the token is not accepted", Kind: account.ErrToken}
	case kind != nil:
		return account.Identity{}, &account.Error{What: "the token is not accepted", Kind: kind}
	}
	return a.find(func(u account.Identity) bool { return u.UID == a.owner[bearer] })
}

// ByName is account.Provider's.
func (a *Accounts) ByName(_ context.Context, name string) (account.Identity, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.find(func(u account.Identity) bool { return u.Username == name })
}

// ByUID is account.Provider's.
func (a *Accounts) ByUID(_ context.Context, uid int) (account.Identity, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.find(func(u account.Identity) bool { return u.UID == uid })
}

// Login is account.Passwords'. The token that it gives is the member's name after "login-".
func (a *Accounts) Login(_ context.Context, name, password string) (string, time.Time, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, err := a.find(func(u account.Identity) bool { return u.Username == name })
	if err != nil || a.pass[u.UID] != password {
		return "", time.Time{}, &account.Error{What: "the login failed", Kind: account.ErrPassword}
	}
	token := "login-" + name
	a.tokens[token], a.owner[token] = nil, u.UID
	return token, time.Now().Add(time.Hour), nil
}

// Logout is account.Passwords'.
func (a *Accounts) Logout(_ context.Context, bearer string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens[bearer] = account.ErrRevoked
	return nil
}

// Tokens are all tokens that ever were, for tests that nothing of them is written anywhere.
func (a *Accounts) Tokens() map[string]error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.tokens)
}
