package lxdtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/lanyard-project/lanyard/control/api"
	"github.com/lanyard-project/lanyard/control/api/client"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
	"github.com/lanyard-project/lanyard/webspace/faults"
)

// through is the same members and LXD, over an API of its own that is less patient, with faults in between.
func (w *world) through(patience time.Duration) (*world, *faults.Proxy) {
	p := faults.New(w.t, w.socket())
	c := *w
	c.url = serve(w.t, p.Socket, patience, func(o *api.Options) { o.ReadTime = patience })
	return &c, p
}

// answer is what an API said: the status, and what a problem must have.
type answer struct {
	status int
	body   string
	code   string
	header http.Header
}

func said(r *http.Response, body []byte, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	a := answer{status: r.StatusCode, body: string(body), header: r.Header}
	if a.status >= 400 {
		var p wire.Error
		if err := json.Unmarshal(body, &p); err != nil || p.Code == nil || p.Message == "" || r.Header.Get("Content-Type") != "application/problem+json" {
			return a, fmt.Errorf("not a problem: %s %v %s", r.Status, r.Header, body)
		}
		a.code = *p.Code
	}
	return a, nil
}

type request struct {
	what string
	do   func(ctx context.Context, c *client.ClientWithResponses) (answer, error)
}

// reads and writes are every kind of thing that is asked of LXD.
var reads = []request{
	{"get", func(ctx context.Context, c *client.ClientWithResponses) (answer, error) {
		r, err := c.GetWithResponse(ctx, "self")
		return said(r.HTTPResponse, r.Body, err)
	}},
	{"state", func(ctx context.Context, c *client.ClientWithResponses) (answer, error) {
		r, err := c.GetStateWithResponse(ctx, "self")
		return said(r.HTTPResponse, r.Body, err)
	}},
	{"ports", func(ctx context.Context, c *client.ClientWithResponses) (answer, error) {
		r, err := c.GetPortsWithResponse(ctx, "self")
		return said(r.HTTPResponse, r.Body, err)
	}},
	{"log", func(ctx context.Context, c *client.ClientWithResponses) (answer, error) {
		r, err := c.GetLogWithResponse(ctx, "self")
		return said(r.HTTPResponse, r.Body, err)
	}},
	{"file", func(ctx context.Context, c *client.ClientWithResponses) (answer, error) {
		r, err := c.ReadFileWithResponse(ctx, "self", &wire.ReadFileParams{Path: "/etc/passwd"})
		return said(r.HTTPResponse, r.Body, err)
	}},
}

var writes = []request{
	{"config", func(ctx context.Context, c *client.ClientWithResponses) (answer, error) {
		port := int32(8081)
		r, err := c.UpdateConfigWithResponse(ctx, "self", wire.Config{HTTPPort: &port})
		return said(r.HTTPResponse, r.Body, err)
	}},
	{"port", func(ctx context.Context, c *client.ClientWithResponses) (answer, error) {
		r, err := c.AddRandomPortWithResponse(ctx, "self", 25)
		return said(r.HTTPResponse, r.Body, err)
	}},
	{"exec", func(ctx context.Context, c *client.ClientWithResponses) (answer, error) {
		r, err := c.ExecWithResponse(ctx, "self", wire.ExecRequest{Command: "true"})
		return said(r.HTTPResponse, r.Body, err)
	}},
	{"sync", func(ctx context.Context, c *client.ClientWithResponses) (answer, error) {
		r, err := c.SyncWithResponse(ctx, "self")
		return said(r.HTTPResponse, r.Body, err)
	}},
}

// slow: LXD answers nothing about one webspace for as long as the test wants. Each request about it ends all the same,
// with the same code; others go on; and when LXD answers again nothing needs to be done.
func (w *world) slow() {
	t := w.t
	w.own(110)
	held, p := w.through(5 * time.Second)
	p.Set(func(_ int, r *http.Request) faults.Fault {
		if strings.HasPrefix(r.URL.Path, "/1.0/instances/ws-u110") {
			return faults.Held
		}
		return faults.None
	})
	var all sync.WaitGroup
	for _, q := range slices.Concat(reads, writes) {
		all.Go(func() {
			a, err := q.do(w.ctx, held.client("m10"))
			if err != nil || a.status != 500 || a.code != "unavailable" || a.header.Get("Retry-After") == "" || strings.Contains(a.body, p.Socket) {
				t.Errorf("%s of a silent LXD: %+v, %v", q.what, a, err)
			}
		})
		all.Go(func() { // another's, meanwhile
			if a, err := q.do(w.ctx, held.client("dev")); err != nil || a.status >= 300 {
				t.Errorf("%s of another: %+v, %v", q.what, a, err)
			}
		})
	}
	all.Go(func() {
		// A session says so before it is opened.
		_, resp, err := websocket.Dial(w.ctx, held.url+"/webspace/self/exec", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer token-m10"}}})
		if err == nil || resp == nil || resp.StatusCode != 500 {
			t.Errorf("a websocket: %v, %v", resp, err)
		}
	})
	all.Wait()
	// What was given up while it was held never reaches LXD later.
	p.Set(nil)
	g, err := held.client("m10").GetWithResponse(w.ctx, "self")
	w.must("get", g.HTTPResponse, g.Body, err, 200)
	if *g.JSON200.Config.HTTPPort != 80 || strings.Contains(string(g.Body), ":25") {
		t.Errorf("done although it was refused: %s", g.Body)
	}
	for _, q := range slices.Concat(writes, reads) {
		if a, err := q.do(w.ctx, held.client("m10")); err != nil || a.status >= 300 {
			t.Errorf("%s of an LXD that answers again: %+v, %v", q.what, a, err)
		}
	}
	w.remove("m10")
}

// own creates the webspace of a member of the crowd, unless it is there.
func (w *world) own(uid int) {
	w.t.Helper()
	r, err := w.client("admin").CreateWithResponse(w.ctx, fmt.Sprintf("id:%d", uid), wire.InitRequest{Image: lab.Tiny})
	if err != nil || r.StatusCode() != 201 && r.StatusCode() != 409 {
		w.t.Fatalf("%v %s", err, r.Body)
	}
}

func (w *world) remove(member string) {
	w.t.Helper()
	x, err := w.client(member).DeleteWithResponse(w.ctx, "self")
	w.must("delete", x.HTTPResponse, x.Body, err, 204)
}

// killed: LXD is killed at a certain request, in the middle of what a member wants, and started again.
func (w *world) killed() {
	w.own(111)
	for _, k := range []struct {
		what     string
		at       func(r *http.Request) bool
		up       bool // before
		do       func(ctx context.Context, c *client.ClientWithResponses) (answer, error)
		done     func(ctx context.Context, c *client.ClientWithResponses) error // what it wanted is so
		ok       int
		already  string // the code of a second try after a first that was done all the same
		creation bool
	}{
		{what: "boot", at: operation, do: boot, done: running(true), ok: 204, already: "running"},
		{what: "boot, being sent", at: is("PUT", "/state"), do: boot, done: running(true), ok: 204, already: "running"},
		{what: "shutdown", at: operation, up: true, do: shutdown, done: running(false), ok: 204, already: "not-running"},
		{what: "config", at: is("PATCH", "/ws-u111"), do: writes[0].do, done: configured, ok: 200},
		{what: "exec", at: is("GET", "/websocket"), up: true, do: writes[2].do, ok: 200},
		{what: "delete", at: operation, do: remove, done: absent, ok: 204, already: "not-found"},
		{what: "create", at: operation, do: create, done: present, ok: 201, already: "exists", creation: true},
		{what: "create, being sent", at: is("POST", "/1.0/instances"), do: create, done: present, ok: 201, already: "exists", creation: true},
		{what: "create, at its end", at: is("PATCH", "/ws-u111"), do: create, done: present, ok: 201, already: "exists", creation: true},
	} {
		t, ctx := w.t, w.ctx
		dev := w.client("m11") // not through what is cut
		if k.creation {
			if r, err := dev.DeleteWithResponse(ctx, "self"); err != nil || r.StatusCode() != 204 && r.StatusCode() != 404 {
				t.Fatalf("%s: %v %s", k.what, err, r.Body)
			}
		} else if r, err := dev.GetWithResponse(ctx, "self"); err == nil && r.StatusCode() == 404 {
			w.own(111)
		}
		if !k.creation {
			change := shutdown
			if k.up {
				change = boot
			}
			if a, err := change(ctx, dev); err != nil || a.status != 204 && a.code != "running" && a.code != "not-running" {
				t.Fatalf("before %s: %+v, %v", k.what, a, err)
			}
		}
		c, p := w.through(limit)
		reached, dead := make(chan struct{}), make(chan error, 1)
		var once sync.Once
		p.Set(func(_ int, r *http.Request) faults.Fault {
			if !k.at(r) {
				return faults.None
			}
			how := faults.None
			once.Do(func() {
				close(reached)
				if how = faults.Lost; strings.Contains(k.what, "sent") { // it arrives, or does not, and nobody knows
					how = faults.Unanswered
					go func() { dead <- w.node.StopLXD(context.WithoutCancel(ctx), true) }()
					return
				}
				dead <- w.node.StopLXD(ctx, true)
			})
			return how
		})
		type result struct {
			answer
			err error
		}
		answered := make(chan result, 1)
		go func() {
			a, err := k.do(ctx, c.client("m11"))
			answered <- result{a, err}
		}()
		var r result
		got := false
		select {
		case <-reached:
		case r = <-answered: // the answer may also come before LXD is quite dead
			got = true
		}
		select {
		case <-reached:
		default:
			t.Fatalf("%s: it was answered before LXD was killed: %+v", k.what, r)
		}
		if err := <-dead; err != nil {
			t.Fatal(err)
		}
		if err := w.node.StartLXD(ctx); err != nil {
			t.Fatal(err)
		}
		if !got {
			r = <-answered
		}
		switch {
		case r.err != nil:
			t.Errorf("%s: %v", k.what, r.err)
		case r.status == k.ok:
		case r.status != 500 || r.code != "unavailable" && r.code != "timeout":
			t.Errorf("%s with an LXD that is killed: %+v", k.what, r.answer)
		}
		// All is as it was, or as it was wanted; a retry makes it so.
		again, err := k.do(ctx, dev)
		for end := time.Now().Add(limit); err == nil && again.status == 500 && time.Now().Before(end); again, err = k.do(ctx, dev) {
			time.Sleep(100 * time.Millisecond) // LXD still puts itself in order
		}
		t.Logf("%s: %d %s; a retry %d %s", k.what, r.status, r.code, again.status, again.code)
		if err != nil || again.status != k.ok && (k.already == "" || again.code != k.already) {
			t.Errorf("%s: the first try %+v; a retry %+v, %v", k.what, r.answer, again, err)
		}
		if k.already != "" && r.err == nil && r.status == k.ok && again.code != k.already {
			t.Errorf("%s was done, and a retry was not refused: %+v", k.what, again)
		}
		if k.creation && r.err == nil && r.status != k.ok && again.status != k.ok {
			t.Errorf("%s failed and left something: %+v", k.what, again)
		}
		if k.done != nil {
			if err := k.done(ctx, dev); err != nil {
				t.Errorf("%s: %v", k.what, err)
			}
		}
		if w.usable(k.what); t.Failed() {
			return
		}
	}
	w.remove("m11")
}

// usable: what is there of a webspace is whole: it runs a command, and its record is good. It is up afterwards.
func (w *world) usable(after string) {
	t, ctx, dev := w.t, w.ctx, w.client("m11")
	g, err := dev.GetWithResponse(ctx, "self")
	if err == nil && g.StatusCode() == 404 {
		return
	}
	w.must("get after "+after, g.HTTPResponse, g.Body, err, 200)
	if g.JSON200.Address == nil || *g.JSON200.User != 111 {
		t.Errorf("after %s: %s", after, g.Body)
	}
	e, err := dev.ExecWithResponse(ctx, "self", wire.ExecRequest{Command: "echo whole"})
	if err != nil || e.JSON200 == nil || e.JSON200.Stdout != "whole\n" {
		t.Errorf("exec after %s: %v, %s", after, err, e.Body)
	}
	list, err := w.store().List(ctx)
	if err != nil {
		t.Error(err)
	}
	if _, issues := webspace.Settle(list); len(issues) > 0 {
		t.Errorf("after %s: %v", after, issues)
	}
}

func is(method, end string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method && strings.HasSuffix(r.URL.Path, end) }
}

// operation: LXD works on it, and we have begun to wait.
func operation(r *http.Request) bool {
	return r.Method == "GET" && strings.HasPrefix(r.URL.Path, "/1.0/operations/") && strings.HasSuffix(r.URL.Path, "/wait")
}

func boot(ctx context.Context, c *client.ClientWithResponses) (answer, error) {
	r, err := c.StartWithResponse(ctx, "self")
	return said(r.HTTPResponse, r.Body, err)
}

func shutdown(ctx context.Context, c *client.ClientWithResponses) (answer, error) {
	r, err := c.ShutdownWithResponse(ctx, "self")
	return said(r.HTTPResponse, r.Body, err)
}

func remove(ctx context.Context, c *client.ClientWithResponses) (answer, error) {
	r, err := c.DeleteWithResponse(ctx, "self")
	return said(r.HTTPResponse, r.Body, err)
}

func create(ctx context.Context, c *client.ClientWithResponses) (answer, error) {
	r, err := c.CreateWithResponse(ctx, "self", wire.InitRequest{Image: lab.Tiny})
	return said(r.HTTPResponse, r.Body, err)
}

func running(want bool) func(context.Context, *client.ClientWithResponses) error {
	return func(ctx context.Context, c *client.ClientWithResponses) error {
		r, err := c.GetStateWithResponse(ctx, "self")
		if err != nil || r.JSON200 == nil {
			return errors.Join(err, errors.New(string(r.Body)))
		}
		if r.JSON200.Running != want {
			return fmt.Errorf("running: %v", r.JSON200.Running)
		}
		return nil
	}
}

func configured(ctx context.Context, c *client.ClientWithResponses) error {
	r, err := c.GetConfigWithResponse(ctx, "self")
	if err != nil || r.JSON200 == nil || *r.JSON200.HTTPPort != 8081 {
		return fmt.Errorf("%w %s", err, r.Body)
	}
	return nil
}

func present(ctx context.Context, c *client.ClientWithResponses) error {
	r, err := c.GetWithResponse(ctx, "self")
	if err != nil || r.JSON200 == nil {
		return fmt.Errorf("%w %s", err, r.Body)
	}
	return nil
}

func absent(ctx context.Context, c *client.ClientWithResponses) error {
	r, err := c.GetWithResponse(ctx, "self")
	if err != nil || r.StatusCode() != 404 {
		return fmt.Errorf("%w %s", err, r.Body)
	}
	return nil
}
