package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/api"
	"github.com/lanyard-project/lanyard/control/api/apitest"
	"github.com/lanyard-project/lanyard/webspace"
)

// pieces of requests that fuzzing begins with.
var (
	methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "X"}
	paths   = []string{"/v1/webspace/self", "/v1/webspace/self/config", "/v1/webspace/self/state", "/v1/webspace/self/domains/example.com", "/v1/webspace/self/ports/1/2",
		"/v1/webspace/self/ports/80", "/v1/webspace/self/udpPorts/80", "/v1/webspace/self/log", "/v1/webspace/self/exec", "/v1/webspace/self/console", "/v1/webspace/self/files?path=/root/a",
		"/v1/webspace/self/metrics?since=2026-01-01T00:00:00Z&step=5", "/v1/webspaces?cursor=1&limit=2", "/internal/id:3/ensure-started", "/v1/users/dev/login", "/v1/images", "/health", "/swagger/",
		"//v1//images", "/v1/../v1/images", "/v1/webspace/%2e%2e/config", "/v1/webspace/id:3%00/config", "/v1/webspace/self/files?path=%2Froot&path=/etc&mode=0644", "*", "/v1/webspace/self/domains/%ff%fe", "/v1/webspace/self/domains/a%2fb"}
	bodies = []string{"", "{}", "null", "[]", `{"image":"alpine"}`, `{"image":"alpine","password":"\ud800","ssh":true}`, `{"httpPort":1e2,"startupDelay":-0}`, `{"startupDelay":1e-400}`, `{"wake":{"allow":["::ffff:1.2.3.4/96","fe80::1%x"]}}`,
		`{"password":"x"}`, "{\"image\":\"\x00\xff\"}", strings.Repeat("[", 10000), strings.Repeat(`{"a":`, 10000), `{"image":"` + strings.Repeat("é", 20000) + `"}`}
)

// newFuzzed makes an API whose commands do nothing, and gives what must not be in its log.
func newFuzzed(t testing.TB, dir string) (http.Handler, *lines) {
	spaces := apitest.NewWebspaces(dir)
	spaces.Fail("Exec", &webspace.Problem{What: "no commands", Kind: webspace.ErrInvalid})
	w := &world{log: &lines{}}
	s := api.New(api.Options{Webspaces: spaces, Accounts: apitest.NewAccounts(dev, other, admin), Log: w.logger(), UserRate: 1e6, UserBurst: 1e6, AddressRate: 1e6, AddressBurst: 1e6, Heartbeat: time.Millisecond})
	t.Cleanup(s.Close)
	return s.Handler(), w.log
}

// FuzzRequest sends any request: no answer may be a 500, and nothing may panic.
func FuzzRequest(f *testing.F) {
	handler, log := newFuzzed(f, f.TempDir())
	for n, path := range paths {
		for m, body := range bodies {
			f.Add(methods[(n+m)%len(methods)], path, body, "dev", "text/event-stream")
			f.Add(methods[m%5], path, body, "admin", "")
		}
	}
	f.Fuzz(func(t *testing.T, method, path, body, who, accept string) {
		request(t, handler, log, method, path, body, who, accept)
	})
}

func request(t *testing.T, handler http.Handler, log *lines, method, path, body, who, accept string) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")))
	if err != nil {
		return // net/http answers those by itself
	}
	// A stream would go on for ever.
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	out := &cut{ResponseRecorder: httptest.NewRecorder(), cancel: cancel}
	r = r.WithContext(ctx)
	r.RemoteAddr = "192.0.2.1:1"
	r.Body = io.NopCloser(strings.NewReader(body))
	r.Header = http.Header{"Authorization": {"Bearer token-" + who}, "Accept": {accept}, "Origin": {accept}}
	handler.ServeHTTP(out, r)
	if out.Code == http.StatusInternalServerError || out.Code == 0 {
		t.Errorf("%q %q %.200q as %q: %d %s", method, path, body, who, out.Code, out.Body)
	}
	if out.Code >= 400 && out.Header().Get("Content-Type") != "application/problem+json" && !strings.HasPrefix(r.URL.Path, "/swagger/") {
		t.Errorf("%q %q: %d as %q", method, path, out.Code, out.Header())
	}
	if strings.Contains(log.String(), "made the API panic") {
		t.Fatal(log.String())
	}
	log.reset()
}

// cut ends a stream once it has begun.
type cut struct {
	*httptest.ResponseRecorder
	cancel context.CancelFunc
}

func (c *cut) Write(b []byte) (int, error) {
	if c.Header().Get("Content-Type") == "text/event-stream" && c.Body.Len() > 100 {
		c.cancel()
	}
	return c.ResponseRecorder.Write(b)
}

// Requests put together at random, the same in every run.
func TestRandomRequests(t *testing.T) {
	handler, log := newFuzzed(t, t.TempDir())
	dice := rand.New(rand.NewPCG(1, 2))
	pick := func(list []string) string { return list[dice.IntN(len(list))] }
	mangle := func(s string) string {
		b := []byte(s)
		for range dice.IntN(4) {
			if len(b) == 0 {
				return string(b)
			}
			switch n := dice.IntN(len(b)); dice.IntN(3) {
			case 0:
				b[n] = byte(dice.IntN(256))
			case 1:
				b = append(b[:n], b[n+1:]...)
			case 2:
				b = append(b[:n], append([]byte(pick(bodies[:5])), b[n:]...)...)
			}
		}
		return string(b)
	}
	for range 3000 {
		request(t, handler, log, pick(methods), mangle(pick(paths)), mangle(pick(bodies)), pick([]string{"dev", "other", "admin", "nobody"}), pick([]string{"", "text/event-stream", "*/*"}))
	}
}

// FuzzFrames sends any bytes where websocket frames are expected: the server goes on, and nothing panics.
func FuzzFrames(f *testing.F) {
	mask := "\x00\x00\x00\x00"
	first := `{"command":["x"],"width":1,"height":1}`
	for _, frames := range []string{
		"", "\x81\x80" + mask, "\x81" + string(rune(0x80|len(first))) + mask + first, "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" + mask, "\x01\x85" + mask + "{\"com", "\x88\x80" + mask, "\x88\x81" + mask + "x",
		"\x88\x82" + mask + "\xff\xff", "\x89\xfe\x00\x00" + mask, "\x8f\x80" + mask, "\xff\xff", "\x81\x05hello", "\x80\x80" + mask, "\x81\x84" + mask + "\xff\xfe\xfd\xfc", strings.Repeat("\x89\x80"+mask, 1000),
	} {
		f.Add(frames, "exec")
		f.Add(frames, "console")
		f.Add("\x81"+string([]byte{0x80 | byte(len(`{"width":80,"height":24}`))})+mask+`{"width":80,"height":24}`+frames, "console")
	}
	handler, log := newFuzzed(f, f.TempDir())
	server := httptest.NewServer(handler)
	f.Cleanup(server.Close)
	for _, method := range []string{"POST"} {
		r, _ := http.NewRequest(method, server.URL+"/v1/webspace/self", strings.NewReader(`{"image":"alpine"}`))
		r.Header.Set("Authorization", "Bearer token-dev")
		resp, err := http.DefaultClient.Do(r)
		if err != nil || resp.StatusCode != 201 {
			f.Fatal(err, resp)
		}
		resp.Body.Close()
	}
	f.Fuzz(func(t *testing.T, frames, where string) {
		if where != "exec" {
			where = "console"
		}
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(limit))
		fmt.Fprintf(c, "GET /v1/webspace/self/%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer token-dev\r\n\r\n%s", where, frames)
		_ = c.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c); err != nil { // ends when the server has had enough
			t.Error(err)
		}
		if strings.Contains(log.String(), "made the API panic") {
			t.Fatal(log.String())
		}
		log.reset()
	})
}
