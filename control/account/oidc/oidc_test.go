package oidc

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lanyard-project/lanyard/control/account"
)

func TestMember(t *testing.T) {
	d := newDouble(t)
	one := ecKey(t, "one")
	d.public = []any{one.public()}
	p := d.provider(nil)
	who, err := p.Authenticate(t.Context(), d.sign(one, nil, nil))
	if err != nil || who.UID != 42 || who.Username != "ada" || !who.Admin || len(who.SSHKeys) != 1 {
		t.Fatalf("%+v %v", who, err)
	}
	if got, err := p.ByName(t.Context(), "ADA"); err != nil || got.UID != 42 {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := p.ByUID(t.Context(), 42); err != nil || got.Username != "ada" {
		t.Errorf("%+v %v", got, err)
	}
	_, err = p.ByName(t.Context(), "bob")
	wantKind(t, "never seen", err, account.ErrNotFound)
	who, err = p.Authenticate(t.Context(), d.sign(one, nil, func(c map[string]any) { delete(c, "realm_access"); c["uid"] = "42"; c["aud"] = "lanyard" }))
	if err != nil || who.Admin {
		t.Errorf("still an administrator: %+v %v", who, err)
	}
	_, err = p.Authenticate(t.Context(), d.sign(one, nil, func(c map[string]any) { c["sub"] = "another" }))
	wantKind(t, "somebody else's number", err, account.ErrInvalid)
}

// TestAttacks is the table of tokens that must not be believed.
func TestAttacks(t *testing.T) {
	d := newDouble(t)
	one, foreign := ecKey(t, "one"), ecKey(t, "one")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weakKey := key{"weak", jose.RS256, weak}
	secret := []byte("0123456789abcdef0123456789abcdef")
	encryption := ecKey(t, "enc")
	encPublic := encryption.public()
	encPublic.Use = "enc"
	d.public = []any{one.public(), weakKey.public(), encPublic, map[string]any{"kty": "future", "kid": "f"},
		map[string]any{"kty": "oct", "kid": "sym", "k": base64.RawURLEncoding.EncodeToString(secret)}}
	p := d.provider(nil)
	good := d.sign(one, nil, nil)
	if _, err := p.Authenticate(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"one"}`))
	public, err := x509.MarshalPKIXPublicKey(one.public().Key)
	if err != nil {
		t.Fatal(err)
	}
	with := func(name string, v any) string {
		return d.sign(one, nil, func(c map[string]any) {
			if c[name] = v; v == nil {
				delete(c, name)
			}
		})
	}
	past, future := d.time().Add(-31*time.Second).Unix(), d.time().Add(31*time.Second).Unix()
	for name, token := range map[string]string{
		"nothing": "", "garbage": "garbage", "dots": "..", "huge": strings.Repeat("a", maxToken+1),
		"alg none": none + "." + parts[1] + ".", "alg none, signed": none + "." + parts[1] + "." + parts[2],
		"no signature": parts[0] + "." + parts[1] + ".", "cut": good[:len(good)-4],
		"claims of another":      parts[0] + "." + strings.Split(with("uid", 1), ".")[1] + "." + parts[2],
		"foreign key":            d.sign(foreign, nil, nil),
		"own key inside":         d.sign(foreign, map[jose.HeaderKey]any{"jwk": foreign.public()}, nil),
		"own key elsewhere":      d.sign(foreign, map[jose.HeaderKey]any{"jku": "http://192.0.2.1/", "x5u": "http://192.0.2.1/"}, nil),
		"public key as a secret": d.sign(key{"one", jose.HS256, public}, nil, nil),
		"published secret":       d.sign(key{"sym", jose.HS256, secret}, nil, nil),
		"weak key":               d.sign(weakKey, nil, nil),
		"key for encryption":     d.sign(encryption, nil, nil),
		"wrong audience":         with("aud", "account"), "no audience": with("aud", nil), "odd audience": with("aud", 7),
		"wrong issuer": with("iss", "https://evil.example"), "issuer with a slash": with("iss", d.URL+"/realm/"),
		"no expiry": with("exp", nil), "not yet": with("nbf", future), "from the future": with("iat", future), "no subject": with("sub", nil),
	} {
		_, err := p.Authenticate(t.Context(), token)
		wantKind(t, name, err, account.ErrToken)
		if err != nil && token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error shows the token", name)
		}
	}
	_, err = p.Authenticate(t.Context(), with("exp", past))
	wantKind(t, "expired", err, account.ErrExpired)
	for name, c := range map[string]struct {
		claim string
		value any
	}{
		"no number": {"uid", nil}, "a fraction": {"uid", 1.5}, "zero": {"uid", 0}, "negative": {"uid", -1}, "too large": {"uid", 1e10}, "text": {"uid", "x"}, "spaces": {"uid", " 42"},
		"no name": {"preferred_username", nil}, "path": {"preferred_username", "../x"}, "self": {"preferred_username", "SELF"}, "mail": {"preferred_username", "a@b"},
	} {
		_, err := p.Authenticate(t.Context(), with(c.claim, c.value))
		wantKind(t, name, err, account.ErrInvalid)
	}
	for name, v := range map[string]any{"skewed expiry": d.time().Add(-20 * time.Second).Unix()} {
		if _, err := p.Authenticate(t.Context(), with("exp", v)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.Authenticate(t.Context(), with("nbf", d.time().Add(20*time.Second).Unix())); err != nil {
		t.Error("skewed clock:", err)
	}
}

func TestRotation(t *testing.T) {
	d := newDouble(t)
	one, two := ecKey(t, "one"), edKey(t, "two")
	d.public = []any{one.public()}
	p := d.provider(nil)
	try := func(k key) error { _, err := p.Authenticate(t.Context(), d.sign(k, nil, nil)); return err }
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if err := try(one); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if n := d.fetches.Load(); n != 1 {
		t.Errorf("%d fetches of the keys", n)
	}
	wantKind(t, "not published", try(two), account.ErrToken)
	if n := d.fetches.Load(); n != 1 {
		t.Errorf("strangers make it fetch: %d", n)
	}
	d.set(func() { d.public = []any{one.public(), two.public()} })
	d.now.Add(10)
	for _, k := range []key{two, one} {
		if err := try(k); err != nil {
			t.Errorf("%s: %v", k.id, err)
		}
	}
	d.set(func() { d.public = []any{two.public()} })
	if err := try(one); err != nil {
		t.Error("not noticed yet, but refused:", err)
	}
	d.now.Add(15 * 60)
	if err := try(two); err != nil {
		t.Error(err)
	}
	wantKind(t, "rotated away", try(one), account.ErrToken)
	if n := d.fetches.Load(); n != 3 {
		t.Errorf("%d fetches of the keys", n)
	}
}

func TestProviderAway(t *testing.T) {
	d := newDouble(t)
	one := ecKey(t, "") // without an id, neither here nor there
	d.public = []any{one.public()}
	d.set(func() { d.broken = true })
	p := d.provider(nil)
	try := func() error { _, err := p.Authenticate(t.Context(), d.sign(one, nil, nil)); return err }
	wantKind(t, "away at the start", try(), account.ErrUnavailable)
	d.set(func() { d.broken = false })
	wantKind(t, "asked again too soon", try(), account.ErrUnavailable)
	d.now.Add(10)
	if err := try(); err != nil {
		t.Fatal("it did not recover:", err)
	}
	d.set(func() { d.broken = true })
	d.now.Add(59 * 60)
	if err := try(); err != nil {
		t.Error("its outage is everybody's:", err)
	}
	d.now.Add(60)
	wantKind(t, "an hour without it", try(), account.ErrUnavailable)
	d.set(func() { d.broken, d.issuer = false, "https://evil.example" })
	d.now.Add(60)
	wantKind(t, "another issuer", try(), account.ErrUnavailable)
	d.set(func() { d.issuer, d.public = "", nil })
	d.now.Add(60)
	wantKind(t, "no keys", try(), account.ErrUnavailable)
}

func TestOptions(t *testing.T) {
	d := newDouble(t)
	members := d.provider(nil).options.Directory
	for name, o := range map[string]Options{
		"nothing": {}, "no audience": {Issuer: "https://x", Directory: members}, "no URL": {Issuer: "x", Audiences: []string{"a"}, Directory: members},
		"empty audience": {Issuer: "https://x", Audiences: []string{""}, Directory: members}, "no directory": {Issuer: "https://x", Audiences: []string{"a"}},
	} {
		_, err := New(o)
		wantKind(t, name, err, account.ErrInvalid)
	}
}

func TestChosenNumber(t *testing.T) {
	d := newDouble(t)
	one := edKey(t, "one")
	d.public = []any{one.public()}
	p := d.provider(func(o *Options) { o.Claims = Claims{Username: "nick", Admin: "boss"} })
	for range 2 {
		who, err := p.Authenticate(t.Context(), d.sign(one, nil, func(c map[string]any) { c["nick"] = "ada"; c["boss"] = true }))
		if err != nil || who.UID != 1 || !who.Admin {
			t.Errorf("%+v %v", who, err)
		}
	}
}

// FuzzClaims feeds verified claims of any shape: they never fail inside.
func FuzzClaims(f *testing.F) {
	for _, s := range []string{`{"sub":"a","uid":1,"u":"ada"}`, `{"uid":{"x":[]},"u":[1]}`, `[]`, `null`, `{"uid":1e400}`, `{"k":[1,null,"x"],"a":{"b":{"c":["z"]}}}`} {
		f.Add([]byte(s))
	}
	k := Claims{UID: "uid", Username: "u", Admin: "a.b.c", Value: "z", SSHKeys: "k"}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, _, err := parse(b)
		if err != nil {
			return
		}
		if seen, err := k.read(c); err == nil && (account.CheckUID(seen.UID) != nil || account.CheckForeignName(seen.Username) != nil) {
			t.Errorf("%+v", seen)
		}
	})
}
