package iam

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode"

	"github.com/lanyard-project/lanyard/control/account"
)

const maxAnswer = 1 << 20

type request struct {
	method, path, token string
	body                any
	own                 bool // the token is the installation's
	login               bool
}

// user is a member as the directory has it; what is not needed is left out.
type user struct {
	ID       int    `json:"id"`
	Username string `json:"username"`
	Admin    bool   `json:"is_admin"`
	SSHKey   string `json:"ssh_key"`
}

func (u user) identity() (account.Identity, error) {
	if err := errors.Join(account.CheckUID(u.ID), account.CheckForeignName(u.Username)); err != nil {
		return account.Identity{}, nonsense("it has a user whose name or number cannot be used", err)
	}
	return account.Identity{UID: u.ID, Username: u.Username, Admin: u.Admin, SSHKeys: account.GoodKeys(u.SSHKey)}, nil
}

func nonsense(cause string, err error) error {
	return &account.Error{What: "cannot use the directory's answer", Cause: cause, Kind: account.ErrUnavailable,
		Next: "check accounts.iam_url, and the directory's log", Err: err}
}

// errAway marks that the directory gave no answer, or that it failed itself.
var errAway = errors.New("the directory is away")

func away(cause string, err error) error {
	return &account.Error{What: "the directory of users does not answer", Cause: cause, Kind: account.ErrUnavailable,
		Next: "try again; an administrator checks accounts.iam_url", Err: errors.Join(errAway, err)}
}

func (d *Directory) call(ctx context.Context, r request, into any) error {
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nonsense("the request cannot be written", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, d.options.URL+r.path, body)
	if err != nil {
		return nonsense("the request cannot be made", err)
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := d.http.Do(req)
	if err != nil {
		return away("no answer", err) // the error names the URL, for the log
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return away("its answer broke off", err)
	case len(b) > maxAnswer:
		return nonsense("it is too long", nil)
	case resp.StatusCode/100 != 2:
		return failure(r, resp, b)
	case into == nil:
		return nil
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "application/json" {
		return nonsense(fmt.Sprintf("it is %.40q and not JSON", kind), nil)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return nonsense("it is not the JSON that was asked for", err)
	}
	return nil
}

// failure makes an error of a status; the directory's own message is for the caller to see.
func failure(r request, resp *http.Response, body []byte) error {
	var problem struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(body, &problem) // whatever it is, there is a status
	message := printable(problem.Message)
	if message == "" {
		message = strings.ToLower(http.StatusText(resp.StatusCode))
	}
	status := resp.StatusCode
	switch {
	case status >= 500 || status == http.StatusTooManyRequests:
		return away(fmt.Sprintf("it answers with status %d: %s", status, message), nil)
	case r.login && (status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusNotFound):
		return wrongPassword() // which of both is not for strangers to know
	case status == http.StatusNotFound:
		return &account.Error{What: "no such user", Cause: account.ErrNotFound.Error(), Kind: account.ErrNotFound, Next: "check the name"}
	case r.own && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return &account.Error{What: "cannot find users", Cause: "the directory refuses the installation's own token: " + message,
			Next: "put a valid administrator's token into accounts.iam_token_file", Kind: account.ErrUnavailable}
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		kind := account.ErrToken
		if strings.Contains(strings.ToLower(message), "expired") {
			kind = account.ErrExpired
		}
		return &account.Error{What: "token not accepted", Cause: message, Kind: kind, Next: "lanyard login"}
	}
	return nonsense(fmt.Sprintf("it answers with status %d: %s", status, message), nil)
}

// printable bounds what another server says.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, ""))
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200])
	}
	return s
}
