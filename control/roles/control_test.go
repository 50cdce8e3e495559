package roles

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/account/manage"
	"github.com/lanyard-project/lanyard/control/node/config"
)

// The role control alone, with accounts of its own and an LXD that is not there: what needs no LXD works, what does says
// so, and it ends when it is told to.
func TestControl(t *testing.T) {
	dir := t.TempDir()
	c := config.Default()
	c.LXD.Address = filepath.Join(dir, "no-lxd.socket")
	c.API.Address, c.API.Socket = "", filepath.Join(dir, "api.sock")
	c.Accounts.Path, c.Accounts.Socket = filepath.Join(dir, "accounts", "accounts.db"), filepath.Join(dir, "accounts.sock")
	c.Accounts.HashMemory, c.Accounts.HashPasses = 8, 1
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	working, ended := make(chan struct{}), make(chan error, 1)
	m := &Machine{Config: c, Version: "v1", Log: slog.New(slog.DiscardHandler)}
	go func() { ended <- Run(ctx, m, []Role{Control}, func() { close(working) }) }()
	select {
	case <-working:
	case err := <-ended:
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", c.API.Socket)
	}}}
	ask := func(method, path string) (int, string) {
		r, err := http.NewRequestWithContext(ctx, method, "http://api"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	for path, want := range map[string]int{"/health": 204, "/v1/users/self": 200, "/v1/images": 500, "/v1/webspace/nobody": 404, "/v1/webspace/self": 404} {
		if code, body := ask("GET", path); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	admin := manage.NewClient(c.Accounts.Socket)
	for { // its socket is there soon after the API's
		if _, err := admin.List(ctx); err == nil {
			break
		} else if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if code, body := ask("GET", "/v1/webspaces"); code != 500 || !strings.Contains(body, `"code":"unavailable"`) {
		t.Error(code, body)
	}
	client.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What is wrong in the configuration is said at the start.
func TestControlRefuses(t *testing.T) {
	for what, spoil := range map[string]func(*config.Config){
		"api.user_rate":     func(c *config.Config) { c.API.UserRate = 0 },
		"accounts.provider": func(c *config.Config) { c.Accounts.Provider = "x" },
		"lxd.project":       func(c *config.Config) { c.LXD.Project = "/" },
	} {
		c := config.Default()
		spoil(&c)
		err := Run(t.Context(), &Machine{Config: c, Log: slog.New(slog.DiscardHandler)}, []Role{Control}, func() {})
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
