// Package setup makes the provider of accounts that the configuration names.
package setup

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/account/directory"
	"github.com/lanyard-project/lanyard/control/account/iam"
	"github.com/lanyard-project/lanyard/control/account/local"
	"github.com/lanyard-project/lanyard/control/account/manage"
	"github.com/lanyard-project/lanyard/control/account/oidc"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/webspace"
)

// InUse gives the numbers of the webspaces that exist.
type InUse func(context.Context) ([]int, error)

// Of asks LXD for them.
func Of(s *webspace.Store) InUse {
	return func(ctx context.Context) ([]int, error) {
		list, err := s.List(ctx)
		if err != nil {
			return nil, err
		}
		var uids []int
		for _, i := range list {
			uids = append(uids, i.UID)
		}
		return uids, nil
	}
}

// Provider makes the provider; a provider that is an account.Passwords can log in, and one that is an account.Closer must
// be closed. The manager is what manage.Serve serves to the administrator, or nil.
func Provider(c config.Accounts, inUse InUse) (account.Provider, manage.Manager, error) {
	if err := c.Check(); err != nil {
		return nil, nil, err
	}
	transport, err := transport(c.CA)
	if err != nil {
		return nil, nil, err
	}
	switch c.Provider {
	case config.AccountsIAM:
		p, err := iam.New(iam.Options{URL: c.IAMURL, TokenFile: c.IAMToken, Transport: transport, Fresh: orNever(c.IAMFresh), Stale: orNever(c.IAMStale)})
		if err != nil {
			return nil, nil, err
		}
		return p, nil, nil
	case config.AccountsOIDC:
		members, err := directory.Open(c.Path, inUse)
		if err != nil {
			return nil, nil, err
		}
		p, err := oidc.New(oidc.Options{Issuer: c.OIDCIssuer, Audiences: c.OIDCAudiences, Directory: members, Transport: transport, Skew: orNever(c.OIDCSkew),
			Claims: oidc.Claims{UID: c.OIDCUID, Username: c.OIDCUsername, Admin: c.OIDCAdmin, Value: c.OIDCAdminValue, SSHKeys: c.OIDCSSHKey}})
		if err != nil {
			_ = members.Close()
			return nil, nil, err
		}
		return p, members, nil
	}
	a, err := Local(c, inUse)
	if err != nil {
		return nil, nil, err
	}
	return a, a, nil
}

// Local opens the file of local accounts.
func Local(c config.Accounts, inUse InUse) (*local.Accounts, error) {
	return local.Open(local.Options{Path: c.Path, Lifetime: c.Lifetime, InUse: inUse, Hashes: c.HashParallel,
		Hash: local.Hash{Memory: uint32(c.HashMemory) << 10, Passes: uint32(c.HashPasses), Threads: uint8(c.HashThreads)}})
}

// orNever makes what options mean by "not at all" of zero, which means the default to them.
func orNever(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// transport trusts the system's authorities, and those in the file.
func transport(file string) (http.RoundTripper, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	if file == "" {
		return t, nil
	}
	fail := func(cause string, err error) error {
		return &config.Error{What: "cannot use accounts.ca", Cause: cause, Next: "name a file with certificates in PEM", Err: err}
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fail(err.Error(), err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fail(fmt.Sprintf("there is no certificate in %s", file), nil)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}
