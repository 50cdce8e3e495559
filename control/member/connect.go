package member

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/control/api/client"
	"github.com/lanyard-project/lanyard/control/cli"
)

const (
	maxAnswer   = 64 << 20
	dialTimeout = 15 * time.Second
	callTimeout = 10 * time.Minute // a change of power has its own limits in the server
)

// connection is whom commands speak to.
type connection struct {
	credentials
	http *http.Client
}

// connection finds out where the API is, and with what token: flags win over the environment, that over the login.
func (a *app) connection() (*connection, error) {
	c, err := load()
	if err != nil && os.Getenv("LANYARD_TOKEN") == "" {
		return nil, err
	}
	saved := c.Server
	for _, s := range []string{os.Getenv("LANYARD_SERVER"), a.server} {
		if s != "" {
			c.Server = s
		}
	}
	c.Insecure = c.Insecure && c.Server == saved || a.insecure
	if c.Server == "" {
		return nil, notLoggedIn("no server is known")
	}
	if c.Server, err = serverURL(c.Server, c.Insecure); err != nil {
		return nil, err
	}
	if c.Server != saved {
		c.Token = "" // a token goes to the server that gave it, and to no other
	}
	if t := os.Getenv("LANYARD_TOKEN"); t != "" {
		c.Token = strings.TrimSpace(t)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	transport.ResponseHeaderTimeout = callTimeout
	if c.Insecure {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the flag says so
	}
	return &connection{credentials: c, http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}, nil
}

// client makes a client with a token.
func (a *app) client() (*client.ClientWithResponses, error) {
	c, err := a.connection()
	if err != nil {
		return nil, err
	}
	if c.Token == "" {
		return nil, notLoggedIn("there is no token")
	}
	return a.clientOf(c)
}

func (a *app) clientOf(c *connection) (*client.ClientWithResponses, error) {
	out, err := client.New(c.Server, c.Token, client.WithHTTPClient(c.http), client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("User-Agent", "lanyard/"+a.version)
		return nil
	}))
	if err != nil {
		return nil, &cli.Error{Code: "internal", What: "cannot make a client", Cause: err.Error(), Next: "report this", Err: err}
	}
	return out, nil
}

func notLoggedIn(cause string) error {
	return &cli.Error{Code: "not-logged-in", What: "you are not logged in", Cause: cause, Next: "lanyard login --server URL NAME", Exit: cli.ExitLogin}
}

// answer reads a response into into (nil: there is nothing to read), or makes an error of it. It closes the body.
func answer(resp *http.Response, err error, into any) error {
	if err != nil {
		return unreachable(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return unreachable(err)
	}
	if err := failure(resp, b); err != nil || into == nil {
		return err
	}
	if text, ok := into.(*string); ok {
		*text = string(b)
		return nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return &cli.Error{Code: "answer", What: "the server's answer cannot be read", Cause: err.Error(), Next: "check that --server names a Lanyard API", Err: err}
	}
	return nil
}

// unreachable is an error of the way to the server.
func unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return &cli.Error{Code: "interrupted", What: "interrupted", Next: "look how far it came: lanyard ws status", Exit: 130, Err: err}
	}
	cause := err.Error()
	for e := err; e != nil; e = errors.Unwrap(e) { // the innermost reason is the shortest
		cause = e.Error()
	}
	return &cli.Error{Code: "unreachable", What: "cannot reach the server", Cause: cause, Next: "check the network, and --server", Exit: cli.ExitUnreachable, Err: err}
}

// failure makes an error of an answer that is one.
func failure(resp *http.Response, body []byte) error {
	err := client.Check(resp, body)
	if err == nil {
		return nil
	}
	f, ok := errors.AsType[*client.Failure](err)
	if !ok {
		return err
	}
	p := f.Problem
	e := &cli.Error{Code: value(p.Code), What: value(p.What), Cause: value(p.Cause), Next: value(p.Next), Err: err}
	if e.What == "" {
		e.What, e.Cause = f.Error(), ""
	}
	if e.Code == "" {
		e.Code = "http-" + strings.ToLower(strings.ReplaceAll(http.StatusText(f.Status), " ", "-"))
	}
	if e.Cause == e.What {
		e.Cause = ""
	}
	if strings.HasPrefix(e.Code, "token-") {
		e.Exit, e.Next = cli.ExitLogin, "lanyard login"
	}
	if wait := resp.Header.Get("Retry-After"); wait != "" {
		e.Next = "try again in " + wait + " s"
	}
	return e
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
