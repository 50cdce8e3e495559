package member

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/control/cli"
)

// credentials are what a login leaves behind, in a file that only its owner can read.
type credentials struct {
	Server   string     `json:"server"`
	Token    string     `json:"token"`
	Expires  *time.Time `json:"expires,omitempty"`
	Insecure bool       `json:"insecure,omitempty"`
}

// credentialsPath is where they are: $LANYARD_CREDENTIALS, or in the user's folder for configurations.
func credentialsPath() (string, error) {
	if p := os.Getenv("LANYARD_CREDENTIALS"); p != "" {
		return p, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", &cli.Error{Code: "credentials", What: "cannot find a place for the login", Cause: err.Error(), Next: "set LANYARD_CREDENTIALS to the path of a file", Err: err}
	}
	return filepath.Join(dir, "lanyard", "credentials.json"), nil
}

// load reads the credentials; there may be none.
func load() (credentials, error) {
	var c credentials
	path, err := credentialsPath()
	if err != nil {
		if os.Getenv("LANYARD_SERVER") != "" { // a job without a home has its token in the environment
			return c, nil
		}
		return c, err
	}
	fail := func(cause, next string, err error) (credentials, error) {
		return credentials{}, &cli.Error{Code: "credentials", What: "cannot use the login in " + path, Cause: cause, Next: next, Err: err}
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return fail(err.Error(), "lanyard login", err)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return fail("others can read it, and the token in it", "chmod 600 "+path+"; if it was there for long: lanyard logout, lanyard login", nil)
	case info.Size() > 1<<20:
		return fail("it is too long", "lanyard login", nil)
	}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return fail(err.Error(), "lanyard login", err)
	}
	return c, nil
}

// save replaces the credentials as a whole, so that a crash leaves the old or the new.
func save(c credentials) error {
	path, err := credentialsPath()
	if err != nil {
		return err
	}
	fail := func(err error) error {
		return &cli.Error{Code: "credentials", What: "cannot keep the login", Cause: err.Error(), Next: "set LANYARD_CREDENTIALS to the path of a file that can be written", Err: err}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fail(err)
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fail(err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".credentials-*") // mode 0600
	if err != nil {
		return fail(err)
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fail(err)
	}
	return nil
}

// forget removes the credentials.
func forget() error {
	path, err := credentialsPath()
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &cli.Error{Code: "credentials", What: "cannot forget the login", Cause: err.Error(), Next: "remove " + path, Err: err}
	}
	return nil
}

// serverURL completes what a person writes: a host is enough.
func serverURL(s string, insecure bool) (string, error) {
	bad := func(cause, next string) (string, error) {
		return "", &cli.Error{Code: "usage", What: "cannot use the server " + s, Cause: cause, Next: next, Exit: cli.ExitUsage}
	}
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return bad("it is no URL of a server", "give one such as https://webspaces.example.org")
	case u.Scheme == "http" && !insecure && !loopback(u.Hostname()):
		return bad("everybody on the way could read the token", "use https://, or --insecure if you know the way")
	}
	if u.Path = strings.TrimRight(u.Path, "/"); u.Path == "" {
		u.Path = "/v1"
	}
	return u.String(), nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
