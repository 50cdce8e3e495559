package setup

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/node/config"
)

func TestProvider(t *testing.T) {
	dir := t.TempDir()
	base := config.Default().Accounts
	base.Path = filepath.Join(dir, "state", "accounts.db")
	for name, c := range map[string]struct {
		change           func(*config.Accounts)
		manager, accepts bool
	}{
		"local": {func(*config.Accounts) {}, true, true},
		"iam":   {func(a *config.Accounts) { a.Provider, a.IAMURL = "iam", "https://iam.example.org/v1" }, false, true},
		"oidc": {func(a *config.Accounts) {
			a.Provider, a.OIDCIssuer, a.OIDCAudiences = "oidc", "https://x.example", []string{"a"}
		}, true, true},
		"ldap":   {func(a *config.Accounts) { a.Provider = "ldap" }, false, false},
		"no url": {func(a *config.Accounts) { a.Provider = "iam" }, false, false},
		"no aud": {func(a *config.Accounts) { a.Provider, a.OIDCIssuer = "oidc", "https://x.example" }, false, false},
		"no ca":  {func(a *config.Accounts) { a.CA = filepath.Join(dir, "none") }, false, false},
		"memory": {func(a *config.Accounts) { a.HashMemory = 0 }, false, false},
		"path":   {func(a *config.Accounts) { a.Path = "accounts.db" }, false, false},
	} {
		a := base
		c.change(&a)
		p, m, err := Provider(a, nil)
		if (err == nil) != c.accepts || (m != nil) != c.manager {
			t.Errorf("%s: %v %v", name, m, err)
		}
		if e, ok := errors.AsType[*config.Error](err); err != nil && (!ok || e.Next == "") {
			t.Errorf("%s: %v", name, err)
		}
		if c, ok := p.(account.Closer); ok {
			if err := c.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestOwnAuthority(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	a := config.Default().Accounts
	a.Provider, a.IAMURL, a.CA = "iam", server.URL, file
	p, _, err := Provider(a, nil)
	if err != nil {
		t.Fatal(err)
	}
	const unsigned = "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"
	if _, err := p.Authenticate(t.Context(), unsigned); !errors.Is(err, account.ErrNotFound) { // it did ask
		t.Error(err)
	}
	a.CA = ""
	if p, _, err = Provider(a, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Authenticate(t.Context(), unsigned); !errors.Is(err, account.ErrUnavailable) {
		t.Error("a certificate of nobody:", err)
	}
}
