package oidc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"github.com/lanyard-project/lanyard/control/account"
)

const (
	maxDocument = 1 << 20
	maxKeys     = 64
)

// keys are the provider's, as last fetched.
type keys struct {
	options Options
	http    http.Client
	flights singleflight.Group

	mu      sync.Mutex
	known   []jose.JSONWebKey
	fetched time.Time // when known was
	tried   time.Time // when the last fetch began
	failed  error     // of the last fetch
}

func newKeys(o Options) *keys {
	return &keys{options: o, http: http.Client{Transport: o.Transport, Timeout: o.Timeout}}
}

// find gives the keys that a token with this header may be signed with; there may be none.
func (k *keys) find(ctx context.Context, id, algorithm string) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	found, age := k.match(id, algorithm), k.options.Now().Sub(k.fetched)
	k.mu.Unlock()
	if len(found) > 0 && age < k.options.KeysAge {
		return found, nil
	}
	// The question is everybody's: it does not end with who asked first, but with the client's own limit.
	var failed error
	done := k.flights.DoChan("", func() (any, error) { return nil, k.fetch(context.WithoutCancel(ctx)) })
	select {
	case r := <-done:
		failed = r.Err
	case <-ctx.Done():
		failed = away("the caller did not wait", ctx.Err())
	}
	k.mu.Lock()
	found, age = k.match(id, algorithm), k.options.Now().Sub(k.fetched)
	k.mu.Unlock()
	switch {
	case failed == nil:
		return found, nil
	case len(found) > 0 && age < k.options.KeysStale:
		return found, nil
	}
	return nil, failed
}

// match gives the known keys of this id; one without an id, or a token without, fits any.
func (k *keys) match(id, algorithm string) []jose.JSONWebKey {
	var out []jose.JSONWebKey
	for _, key := range k.known {
		if (id == "" || key.KeyID == "" || key.KeyID == id) && (key.Algorithm == "" || key.Algorithm == algorithm) {
			out = append(out, key)
		}
	}
	return out
}

// fetch asks for the keys, unless somebody just did. It runs once at a time.
func (k *keys) fetch(ctx context.Context) error {
	k.mu.Lock()
	now := k.options.Now()
	if now.Sub(k.tried) < k.options.KeysPause {
		defer k.mu.Unlock()
		return k.failed
	}
	k.tried = now
	k.mu.Unlock()
	list, err := k.ask(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failed = err; err == nil {
		k.known, k.fetched = list, now
	}
	return err
}

func (k *keys) ask(ctx context.Context) ([]jose.JSONWebKey, error) {
	var found struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := k.get(ctx, strings.TrimRight(k.options.Issuer, "/")+"/.well-known/openid-configuration", &found); err != nil {
		return nil, err
	}
	if found.Issuer != k.options.Issuer {
		return nil, away(fmt.Sprintf("it says that it is %.200q", found.Issuer), nil)
	}
	// Keys over plain HTTP could be anybody's, unless the issuer is configured so.
	if u, err := url.Parse(found.Keys); err != nil || u.Host == "" || u.Scheme != "https" && !strings.HasPrefix(k.options.Issuer, u.Scheme+"://") {
		return nil, away("its jwks_uri is not usable", err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := k.get(ctx, found.Keys, &set); err != nil {
		return nil, err
	}
	var list []jose.JSONWebKey
	for _, raw := range set.Keys[:min(len(set.Keys), maxKeys)] {
		var key jose.JSONWebKey
		// A kind of key that is not known is not for us; the others are still good.
		if json.Unmarshal(raw, &key) == nil && usable(key) {
			list = append(list, key)
		}
	}
	if len(list) == 0 {
		return nil, away("it has no keys that can be used", nil)
	}
	return list, nil
}

// usable says whether signatures may be checked with a key: public, strong enough, and not for encryption.
func usable(key jose.JSONWebKey) bool {
	if r, ok := key.Key.(*rsa.PublicKey); ok && r.N.BitLen() < 2048 {
		return false
	}
	return key.IsPublic() && key.Valid() && (key.Use == "" || key.Use == "sig") &&
		(key.Algorithm == "" || slices.Contains(accepted, jose.SignatureAlgorithm(key.Algorithm)))
}

func (k *keys) get(ctx context.Context, from string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return away("its address is not usable", err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := k.http.Do(req)
	if err != nil {
		return away("no answer", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return away("its answer broke off", err)
	case resp.StatusCode != http.StatusOK:
		return away(fmt.Sprintf("it answers with status %d", resp.StatusCode), nil)
	case len(b) > maxDocument:
		return away("its answer is too long", nil)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return away("its answer is no JSON", err)
	}
	return nil
}

func away(cause string, err error) error {
	return &account.Error{What: "cannot check tokens: the OpenID provider's keys are not to be had", Cause: cause, Kind: account.ErrUnavailable,
		Next: "try again; an administrator checks accounts.oidc_issuer", Err: err}
}
