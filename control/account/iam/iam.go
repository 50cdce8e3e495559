package iam

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/account/attempts"
)

// Options of a directory. Zero values are replaced by what the comments say.
type Options struct {
	URL       string // of the API with its version: https://iam.example.org/v1
	TokenFile string // the installation's own token, of an administrator; needed to find others than the caller
	Transport http.RoundTripper
	Timeout   time.Duration    // of one request; 10 s
	Fresh     time.Duration    // how long an answer counts; 10 s, negative: not at all
	Stale     time.Duration    // how long it counts while the directory does not answer; 10 min, negative: not at all
	Limits    attempts.Limits  // of failed logins; attempts.Default
	Now       func() time.Time // time.Now
}

// Directory is an IAM. It implements account.Provider and account.Passwords.
type Directory struct {
	options  Options
	http     http.Client
	answers  *answers
	attempts *attempts.Counter
}

var (
	_ account.Provider  = (*Directory)(nil)
	_ account.Passwords = (*Directory)(nil)
	_ account.Closer    = (*Directory)(nil)
)

// New makes a directory. It asks nothing yet: it may be away when the daemon starts.
func New(o Options) (*Directory, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
		return nil, &account.Error{What: "cannot use the directory of users", Cause: "accounts.iam_url is no URL such as https://iam.example.org/v1",
			Next: "correct it", Kind: account.ErrInvalid, Err: err}
	}
	o.URL = strings.TrimRight(o.URL, "/")
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Fresh == 0 {
		o.Fresh = 10 * time.Second
	}
	if o.Stale == 0 {
		o.Stale = 10 * time.Minute
	}
	if o.Limits == (attempts.Limits{}) {
		o.Limits = attempts.Default
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	d := &Directory{options: o, attempts: attempts.New(o.Limits, o.Now)}
	d.answers = newAnswers(o)
	d.http = http.Client{Transport: o.Transport, Timeout: o.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a token goes to nobody but the directory
	}}
	return d, nil
}

// Close gives idle connections back.
func (d *Directory) Close() error {
	d.http.CloseIdleConnections()
	return nil
}

// known are the algorithms of signatures that a token may name. "none" is none of them.
var known = []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512, jose.RS256, jose.RS384, jose.RS512,
	jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

const maxToken = 8 << 10

// Authenticate implements account.Provider. What cannot be a token is refused without a call.
func (d *Directory) Authenticate(ctx context.Context, bearer string) (account.Identity, error) {
	if len(bearer) > maxToken {
		return account.Identity{}, refused("it is too long")
	}
	if _, err := jwt.ParseSigned(bearer, known); err != nil {
		return account.Identity{}, refused("it is no signed token")
	}
	sum := sha256.Sum256([]byte(bearer))
	return d.answers.get(ctx, "token:"+hex.EncodeToString(sum[:]), func(ctx context.Context) (account.Identity, error) {
		// Whether it is good comes first: the directory answers /users/self to expired ones too.
		if err := d.call(ctx, request{method: http.MethodGet, path: "/users/self/token", token: bearer}, nil); err != nil {
			return account.Identity{}, err
		}
		var u user
		if err := d.call(ctx, request{method: http.MethodGet, path: "/users/self", token: bearer}, &u); err != nil {
			return account.Identity{}, err
		}
		return u.identity()
	})
}

func refused(cause string) error {
	return &account.Error{What: "token not accepted", Cause: cause, Kind: account.ErrToken, Next: "lanyard login"}
}

// ByName implements account.Provider.
func (d *Directory) ByName(ctx context.Context, name string) (account.Identity, error) {
	if account.CheckForeignName(name) != nil {
		return account.Identity{}, &account.Error{What: "no such user", Cause: account.ErrNotFound.Error(), Kind: account.ErrNotFound, Next: "check the name"}
	}
	id, err := d.find(ctx, name)
	if err == nil && !strings.EqualFold(id.Username, name) {
		return account.Identity{}, nonsense("it answered with another user", nil)
	}
	return id, err
}

// ByUID implements account.Provider.
func (d *Directory) ByUID(ctx context.Context, uid int) (account.Identity, error) {
	if account.CheckUID(uid) != nil {
		return account.Identity{}, &account.Error{What: "no such user", Cause: account.ErrNotFound.Error(), Kind: account.ErrNotFound, Next: "check the number"}
	}
	id, err := d.find(ctx, "id:"+strconv.Itoa(uid))
	if err == nil && id.UID != uid {
		return account.Identity{}, nonsense("it answered with another user", nil)
	}
	return id, err
}

// find asks with the installation's own token. The file is read each time, so that a new one counts at once.
func (d *Directory) find(ctx context.Context, who string) (account.Identity, error) {
	return d.answers.get(ctx, "user:"+who, func(ctx context.Context) (account.Identity, error) {
		own := func(cause string, err error) error {
			return &account.Error{What: "cannot find users", Cause: cause, Next: "put an administrator's token into accounts.iam_token_file",
				Kind: account.ErrUnavailable, Err: err}
		}
		if d.options.TokenFile == "" {
			return account.Identity{}, own("there is no accounts.iam_token_file", nil)
		}
		b, err := os.ReadFile(d.options.TokenFile)
		if err != nil {
			return account.Identity{}, own("accounts.iam_token_file cannot be read", err)
		}
		var u user
		err = d.call(ctx, request{method: http.MethodGet, path: "/users/" + who, token: strings.TrimSpace(string(b)), own: true}, &u)
		if err != nil {
			return account.Identity{}, err
		}
		return u.identity()
	})
}

// Login implements account.Passwords. When the token ends is not known here: it is for the directory to say.
func (d *Directory) Login(ctx context.Context, name, password string) (token string, expires time.Time, err error) {
	if account.CheckForeignName(name) != nil || len(password) > 1024 {
		return "", time.Time{}, wrongPassword()
	}
	if err := d.attempts.Take(ctx, name); err != nil {
		return "", time.Time{}, err
	}
	var answer struct {
		Token string `json:"token"`
	}
	err = d.call(ctx, request{method: http.MethodPost, path: "/users/" + name + "/login", body: map[string]string{"password": password}, login: true}, &answer)
	if err != nil {
		if e, ok := err.(*account.Error); !ok || e.Kind != account.ErrPassword {
			d.attempts.Forgive(ctx, name)
		}
		return "", time.Time{}, err
	}
	d.attempts.Forgive(ctx, name)
	if answer.Token == "" || len(answer.Token) > maxToken {
		return "", time.Time{}, nonsense("it gave no token", nil)
	}
	return answer.Token, time.Time{}, nil
}

func wrongPassword() error {
	return &account.Error{What: "cannot log in", Cause: account.ErrPassword.Error(), Kind: account.ErrPassword, Next: "try again"}
}

// Logout implements account.Passwords. The directory ends all sessions of the member at once: it has no other way.
func (d *Directory) Logout(ctx context.Context, bearer string) error {
	if _, err := jwt.ParseSigned(bearer, known); err != nil || len(bearer) > maxToken {
		return refused("it is no signed token")
	}
	err := d.call(ctx, request{method: http.MethodDelete, path: "/users/self/login", token: bearer}, nil)
	d.answers.forget()
	return err
}
