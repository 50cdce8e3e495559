package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api/wire"
)

// Login exchanges a name and a password for a token, where the accounts have passwords.
func (o operations) Login(w http.ResponseWriter, r *http.Request, username string) {
	var body wire.LoginRequest
	err := decode(w, r, &body)
	passwords, ok := o.o.Accounts.(account.Passwords)
	if err == nil && !ok {
		err = fail(codeUnsupported, "", "these accounts log in with their own provider")
	}
	if err == nil && (len(username) > 256 || len(body.Password) > 1024) {
		err = fail(codePassword, "", "")
	}
	if err != nil {
		o.problem(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(account.WithPeer(r.Context(), callOf(r.Context()).peer), o.o.ReadTime)
	defer cancel()
	token, expires, err := passwords.Login(ctx, username, body.Password)
	o.audit(r, "login", username, account.Identity{UID: -1}, nil, err)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	out := wire.LoginResponse{Token: token}
	if !expires.IsZero() {
		expires = expires.UTC()
		out.Expires = &expires
	}
	reply(w, http.StatusOK, out)
}

// Logout revokes the token that the request carries; nobody can end another's.
func (o operations) Logout(w http.ResponseWriter, r *http.Request, username string) {
	c := callOf(r.Context())
	passwords, ok := o.o.Accounts.(account.Passwords)
	who, err := o.target(r.Context(), username)
	switch {
	case err != nil:
	case !ok || c.local:
		err = fail(codeUnsupported, "", "there is no token here that could be revoked")
	case who.UID != c.caller.UID:
		err = fail(codeInvalid, "", "only the caller's own token can be revoked")
	default:
		err = passwords.Logout(r.Context(), c.token)
	}
	o.audit(r, "logout", username, who, []slog.Attr{}, err)
	if err != nil {
		o.problem(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// GetAccount says who the caller is.
func (o operations) GetAccount(w http.ResponseWriter, r *http.Request) {
	c := callOf(r.Context()).caller
	out := wire.User{ID: wire.UserID(c.UID), Username: c.Username, IsAdmin: c.Admin}
	if len(c.SSHKeys) > 0 {
		keys := strings.Join(c.SSHKeys, "\n")
		out.SSHKey = &keys
	}
	reply(w, http.StatusOK, out)
}

// CheckToken says that the token is valid: else it would not have come this far.
func (o operations) CheckToken(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNoContent)
}
