package local

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.etcd.io/bbolt"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/account/attempts"
	"github.com/lanyard-project/lanyard/control/account/manage"
)

const password = "correct horse"

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func options(t *testing.T) (Options, *clock) {
	c := &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	return Options{Path: filepath.Join(t.TempDir(), "accounts.db"), Hash: Hash{Memory: 64, Passes: 1, Threads: 1}, Now: c.now}, c
}

func open(t *testing.T, o Options) *Accounts {
	t.Helper()
	a, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func add(t *testing.T, a *Accounts, name string) manage.Account {
	t.Helper()
	got, err := a.Add(t.Context(), manage.New{Username: name, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func login(t *testing.T, a *Accounts, name string) string {
	t.Helper()
	token, _, err := a.Login(t.Context(), name, password)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
	var e *account.Error
	if err != nil && (!errors.As(err, &e) || e.What == "" || e.Cause == "" || e.Next == "") {
		t.Errorf("%s: an error without three parts: %v", what, err)
	}
}

func TestAccountsSurviveReopening(t *testing.T) {
	o, _ := options(t)
	a := open(t, o)
	add(t, a, "ada")
	token := login(t, a, "ada")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = open(t, o)
	who, err := a.Authenticate(t.Context(), token)
	if err != nil || who.UID != 1 || who.Username != "ada" || who.Admin {
		t.Errorf("%+v %v", who, err)
	}
	for _, find := range []func() (account.Identity, error){
		func() (account.Identity, error) { return a.ByName(t.Context(), "ada") },
		func() (account.Identity, error) { return a.ByUID(t.Context(), 1) },
	} {
		if got, err := find(); err != nil || got.UID != 1 || got.Username != "ada" {
			t.Errorf("%+v %v", got, err)
		}
	}
	_, err = a.ByName(t.Context(), "bob")
	wantKind(t, "unknown name", err, account.ErrNotFound)
	_, err = a.ByUID(t.Context(), 2)
	wantKind(t, "unknown number", err, account.ErrNotFound)
}

// TestAttacks is the table of tokens that must not be believed.
func TestAttacks(t *testing.T) {
	o, c := options(t)
	a := open(t, o)
	add(t, a, "ada")
	good := login(t, a, "ada")
	parsed, err := jwt.ParseSigned(good, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := parsed.Claims(a.key, &claims); err != nil {
		t.Fatal(err)
	}
	sign := func(alg jose.SignatureAlgorithm, key any, change func(*jwt.Claims)) string {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		altered := claims
		change(&altered)
		token, err := jwt.Signed(s).Claims(altered).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	same := func(*jwt.Claims) {}
	if _, err := a.Authenticate(t.Context(), sign(jose.HS256, a.key, same)); err != nil {
		t.Fatalf("the table's own tokens are no good: %v", err)
	}
	parts := strings.Split(good, ".")
	const none = "eyJhbGciOiJub25lIn0" // {"alg":"none"}
	for name, token := range map[string]string{
		"nothing": "", "garbage": "garbage", "binary": "\x00\xff.\x00.\x00", "dots": "..", "huge": strings.Repeat("a", 1<<20),
		"alg none": none + "." + parts[1] + ".", "alg none, signed": none + "." + parts[1] + "." + parts[2],
		"no signature": parts[0] + "." + parts[1] + ".", "cut": good[:len(good)-4], "longer": good + "AAAA",
		"other key":       sign(jose.HS256, make([]byte, 32), same),
		"other algorithm": sign(jose.HS512, append(append([]byte{}, a.key...), make([]byte, 32)...), same),
		"wrong audience":  sign(jose.HS256, a.key, func(c *jwt.Claims) { c.Audience = jwt.Audience{"other"} }),
		"no audience":     sign(jose.HS256, a.key, func(c *jwt.Claims) { c.Audience = nil }),
		"wrong issuer":    sign(jose.HS256, a.key, func(c *jwt.Claims) { c.Issuer = "netsoc" }),
		"not yet":         sign(jose.HS256, a.key, func(c *jwt.Claims) { c.NotBefore = jwt.NewNumericDate(o.Now().Add(time.Hour)) }),
		"no subject":      sign(jose.HS256, a.key, func(c *jwt.Claims) { c.Subject = "" }),
		"negative":        sign(jose.HS256, a.key, func(c *jwt.Claims) { c.Subject = "-1" }),
		"no expiry":       sign(jose.HS256, a.key, func(c *jwt.Claims) { c.Expiry = nil }),
	} {
		_, err := a.Authenticate(t.Context(), token)
		wantKind(t, name, err, account.ErrToken)
		wantKind(t, name+", logout", a.Logout(t.Context(), token), account.ErrToken)
		if err != nil && token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error shows the token", name)
		}
	}
	for name, token := range map[string]string{
		"other session": sign(jose.HS256, a.key, func(c *jwt.Claims) { c.ID = "AAAA" }),
		"other account": sign(jose.HS256, a.key, func(c *jwt.Claims) { c.Subject = "2" }),
	} {
		_, err := a.Authenticate(t.Context(), token)
		wantKind(t, name, err, account.ErrRevoked)
	}
	c.add(31 * 24 * time.Hour)
	_, err = a.Authenticate(t.Context(), good)
	wantKind(t, "expired", err, account.ErrExpired)
}

func TestRevocation(t *testing.T) {
	o, _ := options(t)
	a := open(t, o)
	next, no := "another horse", false
	for name, revoke := range map[string]func(token string) error{
		"logout":   func(token string) error { return a.Logout(t.Context(), token) },
		"password": func(string) error { _, err := a.Set(t.Context(), "ada", manage.Change{Password: &next}); return err },
		"removal":  func(string) error { return a.Remove(t.Context(), "ada") },
	} {
		_ = a.Remove(t.Context(), "ada")
		add(t, a, "ada")
		token, other := login(t, a, "ada"), login(t, a, "ada")
		if err := revoke(token); err != nil {
			t.Fatal(name, err)
		}
		_, err := a.Authenticate(t.Context(), token)
		wantKind(t, name, err, account.ErrRevoked)
		wantKind(t, name+", logout", a.Logout(t.Context(), token), account.ErrRevoked)
		if _, err := a.Authenticate(t.Context(), other); (err == nil) != (name == "logout") {
			t.Errorf("%s: another session: %v", name, err)
		}
	}
	_ = a.Remove(t.Context(), "ada")
	if _, err := a.Add(t.Context(), manage.New{Username: "ada", Password: password, Admin: true}); err != nil {
		t.Fatal(err)
	}
	token := login(t, a, "ada")
	if _, err := a.Set(t.Context(), "ada", manage.Change{Admin: &no}); err != nil {
		t.Fatal(err)
	}
	if who, err := a.Authenticate(t.Context(), token); err != nil || who.Admin {
		t.Errorf("still an administrator: %+v %v", who, err)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	o, c := options(t)
	a := open(t, o)
	add(t, a, "ada")
	first := login(t, a, "ada")
	for range maxSessions {
		c.add(time.Second)
		login(t, a, "ada")
	}
	_, err := a.Authenticate(t.Context(), first)
	wantKind(t, "oldest", err, account.ErrRevoked)
	if list, err := a.List(t.Context()); err != nil || list[0].Sessions != maxSessions {
		t.Errorf("%+v %v", list, err)
	}
	c.add(31 * 24 * time.Hour)
	login(t, a, "ada")
	if list, err := a.List(t.Context()); err != nil || list[0].Sessions != 1 {
		t.Errorf("expired sessions stay: %+v %v", list, err)
	}
}

func TestNumbers(t *testing.T) {
	o, _ := options(t)
	o.InUse = func(context.Context) ([]int, error) { return []int{4, 1, 2}, nil }
	a := open(t, o)
	if got := add(t, a, "ada"); got.UID != 3 {
		t.Errorf("got a webspace of somebody else: %d", got.UID)
	}
	if got := add(t, a, "bob"); got.UID != 5 {
		t.Errorf("got %d", got.UID)
	}
	if err := a.Remove(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	if got := add(t, a, "eve"); got.UID != 6 {
		t.Errorf("got a number that bob had: %d", got.UID)
	}
	_, err := a.Add(t.Context(), manage.New{Username: "zoe", UID: 6, Password: password})
	wantKind(t, "number twice", err, account.ErrExists)
	_, err = a.Add(t.Context(), manage.New{Username: "eve", UID: 9, Password: password})
	wantKind(t, "name twice", err, account.ErrExists)
	if got, err := a.Add(t.Context(), manage.New{Username: "zoe", UID: 4, Password: password}); err != nil || got.UID != 4 {
		t.Errorf("a number that the administrator wants: %+v %v", got, err)
	}
	a.options.InUse = func(context.Context) ([]int, error) { return nil, errors.New("no LXD") }
	_, err = a.Add(t.Context(), manage.New{Username: "yan", Password: password})
	wantKind(t, "unknown numbers", err, account.ErrUnavailable)
}

func TestUnacceptable(t *testing.T) {
	o, _ := options(t)
	a := open(t, o)
	for name, n := range map[string]manage.New{
		"no name": {Password: password}, "self": {Username: "self", Password: password}, "upper": {Username: "Ada", Password: password},
		"path": {Username: "../x", Password: password}, "id": {Username: "id:1", Password: password}, "dash": {Username: "-a", Password: password},
		"dot": {Username: "a.b", Password: password}, "long": {Username: strings.Repeat("a", 64), Password: password},
		"short password": {Username: "ada", Password: "short"}, "long password": {Username: "ada", Password: strings.Repeat("x", 1025)},
		"negative": {Username: "ada", Password: password, UID: -1}, "too large": {Username: "ada", Password: password, UID: account.MaxUID + 1},
		"key":         {Username: "ada", Password: password, SSHKeys: []string{"ssh-ed25519 nonsense"}},
		"key options": {Username: "ada", Password: password, SSHKeys: []string{`command="id" ` + goodKey}},
		"two keys":    {Username: "ada", Password: password, SSHKeys: []string{goodKey + "\n" + goodKey}},
	} {
		_, err := a.Add(t.Context(), n)
		wantKind(t, name, err, account.ErrInvalid)
	}
	got, err := a.Add(t.Context(), manage.New{Username: "ada", Password: password, SSHKeys: []string{"  " + goodKey + " ada@home \n"}})
	if err != nil || got.SSHKeys[0] != goodKey+" ada@home" {
		t.Errorf("%+v %v", got, err)
	}
}

const goodKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDzjP1wXXpNj1tV2yHkEJ2gZLQ3Vf9mTq2M3lhbT1cK"

func TestFileIsPrivate(t *testing.T) {
	o, _ := options(t)
	a := open(t, o)
	if info, err := os.Stat(o.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	o.OpenWait = time.Millisecond
	_, err := Open(o)
	wantKind(t, "open twice", err, account.ErrUnavailable)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(o.Path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = Open(o)
	wantKind(t, "readable", err, account.ErrUnavailable)
}

func TestDamage(t *testing.T) {
	o, _ := options(t)
	a := open(t, o)
	add(t, a, "ada")
	add(t, a, "bob")
	token := login(t, a, "ada")
	err := a.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(accountsBucket).Put(uidKey(1), []byte("{")) })
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Authenticate(t.Context(), token)
	wantKind(t, "damaged", err, account.ErrUnavailable)
	if list, err := a.List(t.Context()); err != nil || len(list) != 1 || list[0].Username != "bob" {
		t.Errorf("%+v %v", list, err)
	}
	login(t, a, "bob")
	err = a.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(formatKey, []byte("2")) })
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	_, err = Open(o)
	wantKind(t, "newer format", err, account.ErrUnavailable)
}

// TestGuessing: the attempts package has the details.
func TestGuessing(t *testing.T) {
	o, c := options(t)
	o.Limits = attempts.Limits{Pair: attempts.Rate{Burst: 2, Every: time.Minute}, Peer: attempts.Default.Peer, Name: attempts.Default.Name}
	a := open(t, o)
	add(t, a, "ada")
	ctx := account.WithPeer(t.Context(), netip.MustParseAddr("192.0.2.1"))
	try := func(pw string) error { _, _, err := a.Login(ctx, "ada", pw); return err }
	for range 10 {
		if err := try(password); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		wantKind(t, "wrong", try("wrong password"), account.ErrPassword)
	}
	wantKind(t, "the right one, too late", try(password), account.ErrRateLimited)
	c.add(time.Minute)
	if err := try(password); err != nil {
		t.Error("a minute later:", err)
	}
	_, _, err := a.Login(ctx, "nobody", password)
	wantKind(t, "unknown name", err, account.ErrPassword)
	_, _, err = a.Login(ctx, "ada", strings.Repeat("x", 1<<20))
	wantKind(t, "huge", err, account.ErrPassword)
}

func TestCostIsRaisedAtLogin(t *testing.T) {
	o, _ := options(t)
	a := open(t, o)
	add(t, a, "ada")
	a.hasher.cost.Passes = 2
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if _, _, err := a.Login(t.Context(), "ada", password); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if err := a.db.View(func(tx *bbolt.Tx) error {
		_, r, err := find(tx, "ada")
		if err == nil && !strings.HasPrefix(r.Password, a.hasher.prefix()) {
			t.Errorf("%.40s", r.Password)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	login(t, a, "ada")
}

func TestHashes(t *testing.T) {
	h := hasher{cost: Hash{64, 1, 1}, slots: make(chan struct{}, 1)}
	for _, hash := range []string{"", "x", "$argon2id$v=19$m=64,t=1,p=1$$", "$argon2id$v=19$m=64,t=0,p=0$AAAA$AAAAAAAAAAAAAAAAAAAAAAAA", "$1$a$b"} {
		if ok, _, err := h.check(t.Context(), hash, password); ok || err != nil {
			t.Errorf("%q fits: %v", hash, err)
		}
	}
	h.slots <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.make(ctx, password)
	wantKind(t, "busy", err, account.ErrUnavailable)
}
