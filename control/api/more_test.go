package api_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/api"
	"github.com/lanyard-project/lanyard/control/api/apitest"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/keypair/keypairtest"
	"github.com/lanyard-project/lanyard/webspace"
)

// events opens a stream, and gives its events ("name data") one after the other.
func (w *world) events(method, path, member, body string) (next func() string, resp *http.Response) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.ctx(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer token-"+member)
	r.Header.Set("Accept", "text/event-stream")
	resp, err = w.http.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	return func() string {
		name := ""
		for lines.Scan() {
			if n, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				name = n
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return name + " " + data
			}
		}
		return "end"
	}, resp
}

func TestEvents(t *testing.T) {
	w := newWorld(t, func(o *api.Options, _ *api.Listeners) { o.Heartbeat = time.Millisecond })
	next, resp := w.events("GET", "/v1/webspace/self/events", "dev", "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(resp)
	}
	expect := func(part string) {
		t.Helper()
		for {
			e := next()
			if e == "end" {
				t.Fatal("the stream ended before", part)
			}
			if strings.Contains(e, part) && strings.HasPrefix(e, "state {") {
				return
			}
		}
	}
	expect(`"exists":false`)
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	expect(`"status":"asleep"`)
	w.want("POST", "/v1/webspace/self/state", "dev", "", 204, "")
	expect(`"status":"awake"`)
	w.want("POST", "/v1/webspace/self/ports/50000/80", "dev", "", 201, "")
	expect(`"50000":80`)
	w.want("DELETE", "/v1/webspace/self", "dev", "", 204, "")
	expect(`"exists":false`)
}

func TestCreateWithProgress(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct {
		body string
		want []string
	}{
		{`{"image":"alpine"}`, []string{`progress {"percent":50,"stage":"image","text":"looking for the image"}`, `progress {"stage":"create","text":"creating"}`, `done {`, "end"}},
		{`{"image":"alpine"}`, []string{"progress", "progress", `error {"code":"exists"`, "end"}},
	} {
		next, resp := w.events("POST", "/v1/webspace/self", "dev", c.body)
		if resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
		for _, want := range c.want {
			if got := next(); !strings.HasPrefix(got, want) {
				t.Errorf("%q, not %q", got, want)
			}
		}
	}
	// What is wrong before it begins is said as ever.
	if _, resp := w.events("POST", "/v1/webspace/self", "dev", `{}`); resp.StatusCode != 400 {
		t.Error(resp.Status)
	}
}

func TestFiles(t *testing.T) {
	w := newWorld(t, func(o *api.Options, _ *api.Listeners) { o.MaxFile = 1 << 20 })
	const path = "/v1/webspace/self/files?path="
	w.want("GET", path+"/root", "dev", "", 404, "not found")
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	w.want("PUT", path+"/root/a", "dev", "hello", 204, "")
	w.want("PUT", path+"/root/run&mode=0755", "dev", "#!/bin/sh", 204, "")
	w.want("PUT", path+"/root/dir/sub&type=directory", "dev", "", 204, "")
	r := w.ask("GET", path+"/root/a", "dev", "")
	if r.body != "hello" || r.Header.Get("X-Lanyard-Type") != "file" || r.Header.Get("X-Lanyard-Mode") != "0644" || r.Header.Get("Content-Type") != "application/octet-stream" {
		t.Error(r.body, r.Header)
	}
	if r := w.ask("HEAD", path+"/root/run", "dev", ""); r.Header.Get("X-Lanyard-Mode") != "0755" || r.StatusCode != 200 {
		t.Error(r.Status, r.Header)
	}
	w.want("GET", path+"/root", "dev", "", 200, `[{"name":"a","type":"file","mode":"0644","size":5},{"name":"dir","type":"directory"},{"name":"run","mode":"0755"}]`)
	for bad, status := range map[string]int{"root/a": 400, "": 400, "/a%00b": 400, "/root/a&mode=9": 400, "/root/a&mode=77777": 400, "/x&type=socket": 400, "/x&uid=-1": 400, "/" + strings.Repeat("x", 5000): 400, "/nowhere/a": 404} {
		w.want("PUT", path+bad, "dev", "x", status, "")
	}
	big := strings.Repeat("x", 1<<20)
	w.want("PUT", path+"/root/big", "dev", big, 204, "")
	w.want("PUT", path+"/root/a", "dev", big+"x", 413, "too large")
	if r := w.ask("GET", path+"/root/a", "dev", ""); r.body != "hello" {
		t.Error("a file that was not replaced is not what it was")
	}
	if r := w.ask("GET", path+"/root/big", "dev", ""); r.body != big {
		t.Error(len(r.body))
	}
	for _, out := range []string{"/../../etc/passwd", "/root/../../../etc/passwd"} {
		if r := w.ask("GET", path+out, "dev", ""); r.StatusCode != 404 {
			t.Error(out, r.Status)
		}
	}
	w.want("DELETE", path+"/root/dir", "dev", "", 400, "") // not empty
	w.want("DELETE", path+"/root/dir/sub", "dev", "", 204, "")
	w.want("DELETE", path+"/root/dir/sub", "dev", "", 404, "not found")
}

func TestListing(t *testing.T) {
	w := newWorld(t, nil)
	w.want("GET", "/v1/webspaces", "admin", "", 200, `{"webspaces":[]}`)
	for _, who := range []string{"dev", "other", "fresh"} {
		w.want("POST", "/v1/webspace/self", who, `{"image":"alpine"}`, 201, `{}`)
	}
	w.want("GET", "/v1/webspaces?limit=2", "admin", "", 200, `{"webspaces":[{"user":3,"name":"ws-u3","status":"asleep"},{"user":4}],"next":"5"}`)
	w.want("GET", "/v1/webspaces?limit=2&cursor=5", "admin", "", 200, `{"webspaces":[{"user":5}]}`)
	w.want("GET", "/v1/webspaces?cursor=6", "admin", "", 200, `{"webspaces":[]}`)
	for _, q := range []string{"cursor=x", "cursor=-1", "limit=0", "limit=1001", "limit=x", "limit=99999999999"} {
		w.want("GET", "/v1/webspaces?"+q, "admin", "", 400, "")
	}
}

func TestMetrics(t *testing.T) {
	w := newWorld(t, func(o *api.Options, _ *api.Listeners) { o.SampleEvery = 10 * time.Millisecond; o.Wakes = wakes{} })
	const path = "/v1/webspace/self/metrics"
	w.want("GET", path, "dev", "", 404, "not found")
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	w.want("POST", "/v1/webspace/self/state", "dev", "", 204, "")
	eventually(t, "there are samples", func() bool {
		return strings.Count(w.ask("GET", path, "dev", "").body, `"running":true`) > 2
	})
	w.want("GET", path+"?step=86400", "dev", "", 200, `{"step":"…"}`)
	w.want("GET", path+"?since=2001-01-01T00:00:00Z&until=2001-01-02T00:00:00Z", "dev", "", 200, `{"samples":[]}`)
	for _, q := range []string{"since=x", "step=-1", "step=1e9", "since=2030-01-01T00:00:00Z&until=2029-01-01T00:00:00Z"} {
		w.want("GET", path+"?"+q, "dev", "", 400, "")
	}
}

type wakes struct{}

func (wakes) Counts(context.Context) map[int]int64 { return map[int]int64{3: 1} }
func (wakes) Wakes(_ context.Context, _ webspace.Instance, cursor string, limit int) (wire.WakePage, error) {
	if cursor != "" && cursor != "7" {
		return wire.WakePage{}, api.ErrCursor
	}
	next := "7"
	return wire.WakePage{Wakes: []wire.WakeRecord{{Kind: "wake", Cause: "forward", Outcome: "done"}}, Next: &next}, nil
}
func (wakes) WhyAwake(_ context.Context, of webspace.Instance) (wire.WhyAwake, error) {
	switch of.UID {
	case 4:
		return wire.WhyAwake{}, api.ErrElsewhere
	case 5:
		return wire.WhyAwake{}, &webspace.Problem{What: "could not ask", Cause: "192.0.2.2 is away", Kind: api.ErrNode}
	}
	return wire.WhyAwake{Status: wire.StatusAwake, Reasons: []wire.AwakeReason{{Kind: "flow", Detail: "tcp"}}}, nil
}

func TestWakes(t *testing.T) {
	w := newWorld(t, func(o *api.Options, _ *api.Listeners) { o.Wakes = wakes{} })
	for _, what := range []string{"wakes", "why-awake"} {
		w.want("GET", "/v1/webspace/self/"+what, "dev", "", 404, "not found")
	}
	for _, who := range []string{"dev", "other", "fresh"} {
		w.want("POST", "/v1/webspace/self", who, `{"image":"alpine"}`, 201, `{}`)
	}
	w.want("GET", "/v1/webspace/self/wakes?limit=5&cursor=7", "dev", "", 200, `{"wakes":[{"kind":"wake","cause":"forward","outcome":"done"}],"next":"7"}`)
	w.want("GET", "/v1/webspace/self/wakes?cursor=x", "dev", "", 400, "cursor")
	w.want("GET", "/v1/webspace/self/why-awake", "dev", "", 200, `{"status":"awake","reasons":[{"kind":"flow","detail":"tcp"}]}`)
	w.want("GET", "/v1/webspace/self/why-awake", "other", "", 501, "")
	w.want("GET", "/v1/webspace/self/why-awake", "fresh", "", 503, "could not ask: the webspace's node cannot say now")
	if r := w.ask("GET", "/v1/webspace/self/why-awake", "fresh", ""); r.Header.Get("Retry-After") == "" || strings.Contains(r.body, "192.0.2.2") {
		t.Errorf("%v %s", r.Header, r.body)
	}
	without := newWorld(t, nil)
	without.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	without.want("GET", "/v1/webspace/self/wakes", "dev", "", 501, "")
}

func TestRateLimits(t *testing.T) {
	w := newWorld(t, func(o *api.Options, _ *api.Listeners) { o.UserRate, o.UserBurst = 1, 3 })
	codes := map[int]int{}
	for range 20 {
		r := w.ask("GET", "/v1/users/self/token", "dev", "")
		codes[r.StatusCode]++
		if r.StatusCode == 429 && r.Header.Get("Retry-After") == "" {
			t.Error(r.Header)
		}
	}
	if codes[204] < 3 || codes[429] == 0 && codes[204] != 20 {
		t.Error(codes)
	}
	w.want("GET", "/v1/users/self/token", "other", "", 204, "") // not for what another did
	w = newWorld(t, func(o *api.Options, _ *api.Listeners) {
		o.AddressRate, o.AddressBurst = 1, 5
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	from := func(address string) int {
		return w.ask("GET", "/v1/images", "", "", "X-Forwarded-For", "203.0.113.9, "+address).StatusCode
	}
	// A million years would not be enough for this many: some must be refused, however slow the machine is.
	refused := 0
	for range 5000 {
		if from("192.0.2.1") == 429 {
			refused++
			break
		}
	}
	if refused == 0 || from("192.0.2.2") != 200 || from("2001:db8::1") != 200 {
		t.Error(refused)
	}
}

func TestForwardedFor(t *testing.T) {
	w := newWorld(t, func(o *api.Options, _ *api.Listeners) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	for header, from := range map[string]string{"": "127.0.0.1", "192.0.2.7": "192.0.2.7", "192.0.2.7, 10.1.1.1": "192.0.2.7", "evil, 192.0.2.8": "192.0.2.8", "10.0.0.1": "10.0.0.1", "x": "127.0.0.1"} {
		r := w.ask("GET", "/v1/images", "", "", "X-Forwarded-For", header)
		id := r.Header.Get("X-Request-Id")
		eventually(t, "the line is in the log", func() bool { return strings.Contains(w.log.String(), "msg=access request="+id) })
		for line := range strings.SplitSeq(w.log.String(), "\n") {
			if strings.Contains(line, id) && !strings.Contains(line, "from="+from+" ") {
				t.Errorf("%q: %s", header, line)
			}
		}
	}
}

func TestCORS(t *testing.T) {
	w := newWorld(t, func(o *api.Options, _ *api.Listeners) { o.Origins = []string{"https://panel.example.org/"} })
	pre := []string{"Origin", "https://panel.example.org", "Access-Control-Request-Method", "PATCH", "Access-Control-Request-Headers", "authorization"}
	r := w.ask("OPTIONS", "/v1/webspace/self/config", "", "", pre...)
	if r.StatusCode != 204 || r.Header.Get("Access-Control-Allow-Origin") != "https://panel.example.org" || r.Header.Get("Access-Control-Allow-Headers") != "authorization" ||
		!strings.Contains(r.Header.Get("Access-Control-Allow-Methods"), "PATCH") {
		t.Error(r.Status, r.Header)
	}
	if r := w.ask("GET", "/v1/images", "", "", "Origin", "https://evil.example"); r.Header.Get("Access-Control-Allow-Origin") != "" || r.StatusCode != 200 {
		t.Error(r.Header)
	}
	if r := w.ask("OPTIONS", "/v1/images", "", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "GET"); r.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error(r.Header)
	}
	all := newWorld(t, func(o *api.Options, _ *api.Listeners) { o.Origins = []string{"*"} })
	if r := all.ask("GET", "/v1/nothing", "", "", "Origin", "https://any.example"); r.Header.Get("Access-Control-Allow-Origin") != "https://any.example" || r.Header.Get("Vary") != "Origin" {
		t.Error(r.Header) // failures too, or a page could not read them
	}
}

// Through the unix socket root is an admin without a token.
func TestUnixSocket(t *testing.T) {
	name := filepath.Join(t.TempDir(), "sub", "api.sock")
	w := newWorld(t, func(_ *api.Options, at *api.Listeners) { at.Socket = name })
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	local := *w
	local.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", name)
	}}}
	defer local.http.CloseIdleConnections()
	local.want("POST", "/internal/id:3/ensure-started", "", "", 200, "172.24.1.1")
	local.want("GET", "/v1/webspace/dev", "", "", 200, `{"user":3}`)
	local.want("GET", "/v1/webspace/self", "", "", 404, "user does not exist")
	local.want("DELETE", "/v1/users/dev/login", "", "", 501, "")
	local.want("GET", "/v1/webspace/id:77", "", "", 404, "user does not exist")
	local.spaces.Fail("Get", &webspace.Problem{What: "no answer", Kind: webspace.ErrUnavailable})
	local.want("GET", "/v1/webspace/id:77", "", "", 500, "cannot be reached")
	if i, err := os.Stat(name); err != nil || i.Mode().Perm() != 0o600 {
		t.Error(i, err)
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(keypairtest.Write(t, cert, key))
	w := newWorld(t, func(_ *api.Options, at *api.Listeners) { at.CertFile, at.KeyFile = cert, key })
	w.url = strings.Replace(w.url, "http:", "https:", 1)
	w.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}, ForceAttemptHTTP2: true}}
	defer w.http.CloseIdleConnections()
	w.want("GET", "/v1/images", "", "", 200, `[{}]`)
}

// A change goes on when its client has gone, and is in the audit log.
func TestChangesAreFinished(t *testing.T) {
	w := newWorld(t, nil)
	begun, goOn := make(chan struct{}), make(chan struct{})
	w.spaces.BeforeCreate(func() { close(begun); <-goOn })
	ctx, cancel := context.WithCancel(w.ctx())
	r, err := http.NewRequestWithContext(ctx, "POST", w.url+"/v1/webspace/self", strings.NewReader(`{"image":"alpine","password":"hunter2"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer token-dev")
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := w.http.Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	<-begun
	cancel()
	<-gone
	close(goOn)
	eventually(t, "it is made", func() bool { return w.ask("GET", "/v1/webspace/self", "dev", "").StatusCode == 200 })
	eventually(t, "it is in the audit log", func() bool {
		return strings.Contains(w.log.String(), "msg=audit action=webspace.create by_uid=3 by=dev by_admin=false from=127.0.0.1 asked_for=self")
	})
	if strings.Contains(w.log.String(), "hunter2") {
		t.Error("the password is in the log")
	}
}

// Creations wait for each other, and a client that asks for progress hears of it.
func TestCreationsTakeTurns(t *testing.T) {
	w := newWorld(t, func(o *api.Options, _ *api.Listeners) { o.Creations = 1 })
	begun, goOn := make(chan struct{}, 2), make(chan struct{})
	w.spaces.BeforeCreate(func() { begun <- struct{}{}; <-goOn })
	first, _ := w.events("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`)
	<-begun
	second, _ := w.events("POST", "/v1/webspace/self", "other", `{"image":"alpine"}`)
	if e := second(); !strings.HasPrefix(e, `progress {"stage":"wait"`) {
		t.Error(e)
	}
	close(goOn)
	for _, next := range []func() string{first, second} {
		e := next()
		for ; strings.HasPrefix(e, "progress"); e = next() {
		}
		if !strings.HasPrefix(e, "done {") {
			t.Error(e)
		}
	}
}

// One that installs an SSH server, which can take minutes, keeps nobody waiting.
func TestInstallingKeepsNobodyWaiting(t *testing.T) {
	w := newWorld(t, func(o *api.Options, _ *api.Listeners) { o.Creations = 1 })
	begun, goOn := make(chan struct{}, 2), make(chan struct{})
	w.spaces.BeforeCreate(func() { begun <- struct{}{}; <-goOn })
	first, _ := w.events("POST", "/v1/webspace/self", "dev", `{"image":"alpine","ssh":true}`)
	<-begun
	second, _ := w.events("POST", "/v1/webspace/self", "other", `{"image":"alpine"}`)
	<-begun // while the first goes on
	close(goOn)
	for _, next := range []func() string{first, second} {
		e := next()
		for ; strings.HasPrefix(e, "progress"); e = next() {
			if strings.Contains(e, `"wait"`) {
				t.Error(e)
			}
		}
		if !strings.HasPrefix(e, "done {") {
			t.Error(e)
		}
	}
}

// Each failure of what is behind has its code, and tells a member nothing of it.
func TestFailuresBehind(t *testing.T) {
	w := newWorld(t, nil)
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{apitest.Unavailable(), 500, "the webspaces cannot be reached at the moment"},
		{context.DeadlineExceeded, 500, "it took too long"},
		{&webspace.Problem{What: "could not", Kind: webspace.ErrConflict}, 409, "changed by somebody else"},
		{&webspace.Problem{What: "could not", Kind: webspace.ErrExhausted}, 500, "nothing is left to give out"},
		{&webspace.Problem{What: "could not", Kind: webspace.ErrRefused, Cause: "secret"}, 500, "something went wrong here"},
		{os.ErrClosed, 500, "something went wrong here"},
	} {
		w.spaces.Fail("", c.err)
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			if r := w.want(method, "/v1/webspace/self/state", "dev", "", c.status, c.text); strings.Contains(r.body, "secret") || strings.Contains(r.body, "lxc") {
				t.Error(r.body)
			}
		}
	}
	w.spaces.Fail("", nil)
	w.want("GET", "/v1/webspace/self", "dev", "", 200, `{"user":3}`)
}
