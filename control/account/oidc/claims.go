package oidc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/account/directory"
)

// claims of a verified token. Numbers are json.Number.
type claims map[string]any

func parse(payload []byte) (c claims, standard jwt.Claims, err error) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	if err := d.Decode(&c); err != nil {
		return nil, standard, err
	}
	return c, standard, json.Unmarshal(payload, &standard)
}

// at finds a claim; nil if there is none.
func (c claims) at(name string) any {
	if v, ok := c[name]; ok || name == "" {
		return v
	}
	var v any = map[string]any(c)
	for part := range strings.SplitSeq(name, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[part]
	}
	return v
}

// read makes a member of verified claims.
func (k Claims) read(c claims) (directory.Seen, error) {
	bad := func(claim, cause string) (directory.Seen, error) {
		return directory.Seen{}, &account.Error{What: "cannot tell which member this is", Cause: fmt.Sprintf("the claim %s %s", claim, cause),
			Next: "an administrator compares the provider's claims with accounts.oidc_*", Kind: account.ErrInvalid}
	}
	seen := directory.Seen{Subject: text(c["sub"])}
	if k.UID != "" {
		uid, ok := number(c.at(k.UID))
		if !ok || account.CheckUID(uid) != nil {
			return bad(k.UID, "is no number of a member")
		}
		seen.UID = uid
	}
	// Names become names of hosts, where case makes no difference.
	seen.Username = strings.ToLower(text(c.at(k.Username)))
	if account.CheckForeignName(seen.Username) != nil {
		return bad(k.Username, "is no user name of up to 63 letters, digits, dashes and underscores")
	}
	seen.Admin = k.Admin != "" && k.admin(c.at(k.Admin))
	if k.SSHKeys != "" {
		seen.SSHKeys = account.GoodKeys(texts(c.at(k.SSHKeys))...)
	}
	return seen, nil
}

func (k Claims) admin(v any) bool {
	switch v := v.(type) {
	case bool:
		return v && k.Value == ""
	case string:
		return k.Value != "" && v == k.Value
	case []any:
		for _, one := range v {
			if s, ok := one.(string); ok && k.Value != "" && s == k.Value {
				return true
			}
		}
	}
	return false
}

// number reads an integer, also one in quotes, as many providers write them.
func number(v any) (int, bool) {
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.Atoi(v.String()); err == nil {
			return n, true
		}
		f, err := v.Float64() // 1e3, 7.0
		return int(f), err == nil && f == math.Trunc(f) && math.Abs(f) <= account.MaxUID
	case string:
		n, err := strconv.Atoi(v)
		return n, err == nil && strconv.Itoa(n) == v
	}
	return 0, false
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return strings.Split(v, "\n")
	case []any:
		var out []string
		for _, one := range v[:min(len(v), 32)] {
			out = append(out, text(one))
		}
		return out
	}
	return nil
}
