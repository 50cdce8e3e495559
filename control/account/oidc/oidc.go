package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/account/directory"
)

// Options of a provider. Zero values are replaced by what the comments say.
type Options struct {
	Issuer    string   // as in its discovery document
	Audiences []string // a token must be meant for one of them
	Claims    Claims
	Directory *directory.Directory // it is closed with the provider
	Transport http.RoundTripper
	Timeout   time.Duration    // of one request; 10 s
	Skew      time.Duration    // by which clocks may differ; 30 s, negative: not at all
	KeysPause time.Duration    // between two fetches of keys; 10 s
	KeysAge   time.Duration    // after which keys are fetched again; 15 min
	KeysStale time.Duration    // how long they count while the provider does not answer; 1 h
	Now       func() time.Time // time.Now
}

// Claims say which claims make a member. A name with dots reaches into objects, unless there is a claim of that very name.
type Claims struct {
	UID      string // a number; "": the directory chooses one
	Username string // preferred_username
	Admin    string // true, or AdminValue, or a list with AdminValue in it; "": nobody is an administrator
	Value    string // AdminValue
	SSHKeys  string // a key, or a list of them; "": none
}

// Provider is one provider. It implements account.Provider.
type Provider struct {
	options Options
	keys    *keys
}

var (
	_ account.Provider = (*Provider)(nil)
	_ account.Closer   = (*Provider)(nil)
)

// accepted are the algorithms of signatures: those with a public key. "none" and HMAC are not among them, so that a public
// key can never be taken for a secret.
var accepted = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

const maxToken = 16 << 10

// New makes a provider. It asks nothing yet: it may be away when the daemon starts.
func New(o Options) (*Provider, error) {
	bad := func(cause, next string) (*Provider, error) {
		return nil, &account.Error{What: "cannot use the OpenID provider", Cause: cause, Next: next, Kind: account.ErrInvalid}
	}
	u, err := url.Parse(o.Issuer)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "":
		return bad("accounts.oidc_issuer is no URL", "write the issuer as in its discovery document, such as https://login.example.org/realms/main")
	case len(o.Audiences) == 0 || slices.Contains(o.Audiences, ""):
		return bad("accounts.oidc_audiences is empty", "list the client ids whose tokens are for Lanyard: without, those of every other service would do")
	case o.Directory == nil:
		return bad("there is no directory to remember members in", "report this")
	}
	orElse(&o.Timeout, 10*time.Second)
	orElse(&o.Skew, 30*time.Second)
	orElse(&o.KeysPause, 10*time.Second)
	orElse(&o.KeysAge, 15*time.Minute)
	orElse(&o.KeysStale, time.Hour)
	orElse(&o.Claims.Username, "preferred_username")
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	return &Provider{options: o, keys: newKeys(o)}, nil
}

func orElse[T comparable](v *T, d T) {
	if *v == *new(T) {
		*v = d
	}
}

// Close gives idle connections back, and closes the directory.
func (p *Provider) Close() error {
	p.keys.http.CloseIdleConnections()
	return p.options.Directory.Close()
}

// ByName implements account.Provider.
func (p *Provider) ByName(_ context.Context, name string) (account.Identity, error) {
	return p.options.Directory.ByName(strings.ToLower(name))
}

// ByUID implements account.Provider.
func (p *Provider) ByUID(_ context.Context, uid int) (account.Identity, error) {
	return p.options.Directory.ByUID(uid)
}

func refuse(cause string, kind, err error) error {
	return &account.Error{What: "token not accepted", Cause: cause, Kind: kind, Next: "get a new one from the provider, then: lanyard login --token", Err: err}
}

// Authenticate implements account.Provider.
func (p *Provider) Authenticate(ctx context.Context, bearer string) (account.Identity, error) {
	payload, err := p.verify(ctx, bearer)
	if err != nil {
		return account.Identity{}, err
	}
	seen, err := p.options.Claims.read(payload)
	if err != nil {
		return account.Identity{}, err
	}
	return p.options.Directory.See(ctx, seen)
}

// verify gives the claims of a token whose signature, issuer, audience and times are right.
func (p *Provider) verify(ctx context.Context, bearer string) (claims, error) {
	if len(bearer) > maxToken {
		return nil, refuse("it is too long", account.ErrToken, nil)
	}
	signed, err := jose.ParseSignedCompact(bearer, accepted)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, refuse("it is no token signed by a provider", account.ErrToken, err)
	}
	header := signed.Signatures[0].Protected
	candidates, err := p.keys.find(ctx, header.KeyID, header.Algorithm)
	if err != nil {
		return nil, err
	}
	var payload []byte
	for _, key := range candidates {
		if payload, err = signed.Verify(key); err == nil {
			break
		}
	}
	if len(candidates) == 0 || err != nil {
		return nil, refuse("it is not signed with a key of the provider", account.ErrToken, err)
	}
	c, standard, err := parse(payload)
	if err != nil {
		return nil, refuse("its claims cannot be read", account.ErrToken, err)
	}
	expected := jwt.Expected{Issuer: p.options.Issuer, AnyAudience: p.options.Audiences, Time: p.options.Now()}
	err = standard.ValidateWithLeeway(expected, max(p.options.Skew, 0))
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return nil, refuse("it has expired", account.ErrExpired, err)
	case errors.Is(err, jwt.ErrInvalidAudience):
		return nil, refuse("it was made for another service", account.ErrToken, err)
	case err != nil:
		return nil, refuse("it is not valid here or now", account.ErrToken, err)
	case standard.Expiry == nil || standard.Subject == "" || len(standard.Subject) > 1024:
		return nil, refuse("it lacks exp or sub", account.ErrToken, nil)
	}
	return c, nil
}
