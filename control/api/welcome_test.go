package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api"
)

// Whoever may not have a stream any more loses it soon, and with it what runs in it.
func TestStreamsEndWithTheirToken(t *testing.T) {
	w := newWorld(t, func(o *api.Options, _ *api.Listeners) { o.RecheckEvery = 20 * time.Millisecond })
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	for kind, code := range map[error]string{account.ErrRevoked: "revoked", account.ErrExpired: "expired", account.ErrToken: "not accepted", account.ErrNotFound: "not exist"} {
		w.people.Token("token-dev", 3, nil)
		exec := w.dial("exec", "dev")
		w.send(exec, websocket.MessageText, argv("sh", "-c", "echo $$; cat"))
		_, b, err := exec.Read(w.ctx())
		if err != nil {
			t.Fatal(err)
		}
		pid := strings.TrimSpace(string(b))
		console := w.dial("console", "dev")
		w.send(console, websocket.MessageText, `{"width":80,"height":24}`)
		w.until(console, "size 80x24\n")
		next, _ := w.events("GET", "/v1/webspace/self/events", "dev", "")
		// Accounts that are away take nothing from anybody.
		w.people.Fail(&account.Error{What: "away", Kind: account.ErrUnavailable})
		w.send(exec, websocket.MessageBinary, "still here\n")
		w.until(exec, "still here\n")
		w.people.Fail(nil)

		w.people.Token("token-dev", 3, kind)
		for what, c := range map[string]*websocket.Conn{"exec": exec, "console": console} {
			if _, status, reason := w.rest(c); status != websocket.StatusPolicyViolation || !strings.Contains(reason, code) {
				t.Errorf("%v: %s closed with %d %q", kind, what, status, reason)
			}
		}
		last, e := "", next()
		for ; e != "end"; e = next() {
			last = e
		}
		if !strings.HasPrefix(last, "error {") || !strings.Contains(last, code) {
			t.Errorf("%v: the last event is %q", kind, last)
		}
		eventually(t, "the process is gone", func() bool { return !alive(pid) })
	}
}

// A file that is being written is not: what is there stays.
func TestTransfersEndWithTheirToken(t *testing.T) {
	w := newWorld(t, func(o *api.Options, _ *api.Listeners) { o.RecheckEvery = 20 * time.Millisecond })
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	body, in := io.Pipe()
	r, err := http.NewRequestWithContext(w.ctx(), http.MethodPut, w.url+"/v1/webspace/self/files?path=/root/big", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer token-dev")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ { // until the server takes no more
			if n == 10 {
				w.people.Token("token-dev", 3, account.ErrRevoked)
			}
			if _, err := in.Write(make([]byte, 64<<10)); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	resp, err := w.http.Do(r)
	if err == nil { // it may have been cut off while it was writing
		if resp.StatusCode != 403 {
			t.Error(resp.Status)
		}
		_ = resp.Body.Close()
	}
	_ = body.Close()
	<-done
	w.people.Token("token-dev", 3, nil)
	w.want("GET", "/v1/webspace/self/files?path=/root/big", "dev", "", 404, "not found")
}

// An admin who is none any more keeps their own webspace, and loses those of others.
func TestStreamsEndWithTheRole(t *testing.T) {
	w := newWorld(t, func(o *api.Options, _ *api.Listeners) { o.RecheckEvery = 20 * time.Millisecond })
	w.want("POST", "/v1/webspace/self", "dev", `{"image":"alpine"}`, 201, `{}`)
	w.want("POST", "/v1/webspace/self", "admin", `{"image":"alpine"}`, 201, `{}`)
	own := w.dial("exec", "admin")
	other, _, err := websocket.Dial(w.ctx(), w.url+"/v1/webspace/id:3/exec", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer token-admin"}}})
	if err != nil {
		t.Fatal(err)
	}
	w.conns = append(w.conns, other)
	for _, c := range []*websocket.Conn{own, other} {
		w.send(c, websocket.MessageText, argv("sh", "-c", "echo ready; cat"))
		w.until(c, "ready\n")
	}
	w.people.Set(account.Identity{UID: 1, Username: "admin"})
	if _, status, reason := w.rest(other); status != websocket.StatusPolicyViolation || !strings.Contains(reason, "only admin") {
		t.Error(status, reason)
	}
	w.send(own, websocket.MessageBinary, "mine\n")
	w.until(own, "mine\n")
}
