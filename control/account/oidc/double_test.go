package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/account/directory"
)

// double is an OpenID provider whose keys can be rotated.
type double struct {
	*httptest.Server
	t       *testing.T
	mu      sync.Mutex
	public  []any // what is published
	broken  bool
	issuer  string // what discovery claims, if not the truth
	fetches atomic.Int64
	now     atomic.Int64
}

func newDouble(t *testing.T) *double {
	d := &double{t: t}
	d.now.Store(1_800_000_000)
	d.Server = httptest.NewServer(d)
	t.Cleanup(d.Close)
	return d
}

func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var answer any
	switch {
	case d.broken:
		w.WriteHeader(http.StatusBadGateway)
		return
	case r.URL.Path == "/realm/.well-known/openid-configuration":
		issuer := d.issuer
		if issuer == "" {
			issuer = d.URL + "/realm"
		}
		answer = map[string]any{"issuer": issuer, "jwks_uri": d.URL + "/realm/keys", "id_token_signing_alg_values_supported": []string{"none", "HS256", "EdDSA"}}
	case r.URL.Path == "/realm/keys":
		d.fetches.Add(1)
		answer = map[string]any{"keys": d.public}
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (d *double) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func (d *double) time() time.Time { return time.Unix(d.now.Load(), 0) }

// key is a private one, and how it is named.
type key struct {
	id      string
	alg     jose.SignatureAlgorithm
	private any
}

func (k key) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.private.(crypto.Signer).Public(), KeyID: k.id, Use: "sig", Algorithm: string(k.alg)}
}

func edKey(t *testing.T, id string) key {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{id, jose.EdDSA, private}
}

func ecKey(t *testing.T, id string) key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{id, jose.ES256, private}
}

// claims are good ones.
func (d *double) claims() map[string]any {
	return map[string]any{"iss": d.URL + "/realm", "aud": []string{"account", "lanyard"}, "sub": "f3b1", "exp": d.time().Add(time.Minute).Unix(),
		"iat": d.time().Unix(), "preferred_username": "Ada", "uid": 42, "realm_access": map[string]any{"roles": []string{"x", "lanyard-admin"}},
		"keys": []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDzjP1wXXpNj1tV2yHkEJ2gZLQ3Vf9mTq2M3lhbT1cK", "nonsense"}}
}

func (d *double) sign(k key, headers map[jose.HeaderKey]any, change func(map[string]any)) string {
	d.t.Helper()
	c := d.claims()
	if change != nil {
		change(c)
	}
	o := (&jose.SignerOptions{}).WithType("JWT")
	if k.id != "" {
		o = o.WithHeader("kid", k.id)
	}
	for name, v := range headers {
		o = o.WithHeader(name, v)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: k.alg, Key: k.private}, o)
	if err != nil {
		d.t.Fatal(err)
	}
	token, err := jwt.Signed(s).Claims(c).Serialize()
	if err != nil {
		d.t.Fatal(err)
	}
	return token
}

// provider believes the double.
func (d *double) provider(change func(*Options)) *Provider {
	d.t.Helper()
	members, err := directory.Open(filepath.Join(d.t.TempDir(), "members.db"), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	o := Options{Issuer: d.URL + "/realm", Audiences: []string{"lanyard"}, Directory: members, Now: d.time, Timeout: time.Minute,
		Claims: Claims{UID: "uid", Admin: "realm_access.roles", Value: "lanyard-admin", SSHKeys: "keys"}}
	if change != nil {
		change(&o)
	}
	p, err := New(o)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { p.Close() })
	return p
}

func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
	if e, ok := errors.AsType[*account.Error](err); err != nil && (!ok || e.What == "" || e.Cause == "" || e.Next == "") {
		t.Errorf("%s: an error without three parts: %v", what, err)
	}
}
