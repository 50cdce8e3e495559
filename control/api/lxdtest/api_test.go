package lxdtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/api"
	"github.com/lanyard-project/lanyard/control/api/apitest"
	"github.com/lanyard-project/lanyard/control/api/client"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// limit of every wait: far more than anything takes, because the machine may be busy.
const limit = 2 * time.Minute

// world is an LXD with an API over it.
type world struct {
	t    *testing.T
	node *lab.Node
	url  string
	ctx  context.Context
}

// crowd is how many members create at once.
const crowd = 12

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	l, err := lab.New(ctx, lab.Options{Nodes: 1, NoDaemon: true, Dir: filepath.Join(t.TempDir(), "lab")})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		cancel()
	})
	w := &world{t: t, node: l.Node(1), ctx: ctx}
	w.url = serve(t, w.socket(), limit, nil)
	return w
}

func (w *world) socket() string {
	return fmt.Sprintf("/proc/%d/root/var/lib/lxd/unix.socket", w.node.Pid)
}

func (w *world) store() *webspace.Store {
	w.t.Helper()
	s, err := webspace.Connect(webspace.Options{Address: w.socket(), Timeout: limit})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// serve serves the API over an LXD, which may take this long for an answer, for the length of the test, and gives its
// address.
func serve(t *testing.T, socket string, patience time.Duration, change func(*api.Options)) string {
	t.Helper()
	store, err := webspace.Connect(webspace.Options{Address: socket, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	service, err := webspace.NewService(webspace.ServiceOptions{Store: store, Domain: "example.net", StopGrace: 20 * time.Second, StartTime: limit, ForceTime: limit,
		InstanceConfig: map[string]string{"environment.PROBE_NO_DHCP": "1"}, RetryPause: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	people := []account.Identity{{UID: 1, Username: "admin", Admin: true}, {UID: 3, Username: "dev"}}
	for n := range crowd {
		people = append(people, account.Identity{UID: 100 + n, Username: fmt.Sprintf("m%d", n)})
	}
	o := api.Options{Webspaces: api.Service{Service: service}, Accounts: apitest.NewAccounts(people...),
		Log:      slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})), // the causes of internal errors
		UserRate: 1e6, UserBurst: 1e6, AddressRate: 1e6, AddressBurst: 1e6, ReadTime: limit, SampleEvery: time.Hour}
	if change != nil {
		change(&o)
	}
	s := api.New(o)
	running, stop := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	listening := make(chan net.Addr, 1)
	parts.Go(func() { _ = service.Run(running) })
	parts.Go(func() {
		if err := s.Serve(running, api.Listeners{Address: "127.0.0.1:0"}, func(a net.Addr) { listening <- a }); err != nil {
			t.Error(err)
			listening <- nil
		}
	})
	t.Cleanup(func() { stop(); parts.Wait() })
	a := <-listening
	if a == nil {
		t.FailNow()
	}
	return "http://" + a.String() + "/v1"
}

func (w *world) client(member string) *client.ClientWithResponses {
	w.t.Helper()
	c, err := client.New(w.url, "token-"+member, client.WithHTTPClient(&http.Client{Timeout: limit}))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// must checks an answer's status.
func (w *world) must(what string, r *http.Response, body []byte, err error, status int) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
	if r.StatusCode != status {
		w.t.Fatalf("%s: %s: %s", what, r.Status, body)
	}
}

// dial opens a websocket of dev's and sends the first message.
func (w *world) dial(path, first string) *websocket.Conn {
	w.t.Helper()
	c, _, err := websocket.Dial(w.ctx, w.url+"/webspace/self/"+path, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer token-dev"}}})
	if err != nil {
		w.t.Fatal(err)
	}
	c.SetReadLimit(-1)
	w.t.Cleanup(func() { c.CloseNow() })
	w.send(c, websocket.MessageText, first)
	return c
}

func (w *world) send(c *websocket.Conn, kind websocket.MessageType, text string) {
	w.t.Helper()
	if err := c.Write(w.ctx, kind, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) rest(c *websocket.Conn) (out []byte, code websocket.StatusCode, reason string) {
	w.t.Helper()
	for {
		_, b, err := c.Read(w.ctx)
		var closed websocket.CloseError
		if errors.As(err, &closed) {
			return out, closed.Code, closed.Reason
		}
		if err != nil {
			w.t.Fatalf("%v after %q", err, out)
		}
		out = append(out, b...)
	}
}

func (w *world) until(c *websocket.Conn, text string) {
	w.t.Helper()
	var out []byte
	for !bytes.Contains(out, []byte(text)) {
		_, b, err := c.Read(w.ctx)
		if err != nil {
			w.t.Fatalf("%v, and %q is not in %q", err, text, out)
		}
		out = append(out, b...)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// One LXD for everything: the last of these takes it away.
func TestAPI(t *testing.T) {
	w := newWorld(t)
	t.Run("life", func(t *testing.T) { w.with(t).life() })
	t.Run("exec", func(t *testing.T) { w.with(t).exec() })
	t.Run("console", func(t *testing.T) { w.with(t).console() })
	t.Run("files", func(t *testing.T) { w.with(t).files() })
	t.Run("crowd", func(t *testing.T) { w.with(t).crowd() })
	t.Run("slow", func(t *testing.T) { w.with(t).slow() })
	t.Run("killed", func(t *testing.T) { w.with(t).killed() })
	t.Run("absent", func(t *testing.T) { w.with(t).absent() })
}

func (w *world) with(t *testing.T) *world {
	c := *w
	c.t = t
	return &c
}

// life is a webspace's, from its creation; dev's stays for the tests after this one.
func (w *world) life() {
	t, dev, ctx := w.t, w.client("dev"), w.ctx
	r, err := dev.CreateWithResponse(ctx, "self", wire.InitRequest{Image: "no-such-image"})
	w.must("an image that is not there", r.HTTPResponse, r.Body, err, 404)
	g, err := dev.GetWithResponse(ctx, "self")
	w.must("nothing is left of it", g.HTTPResponse, g.Body, err, 404)
	r, err = dev.CreateWithResponse(ctx, "self", wire.InitRequest{Image: lab.Tiny})
	w.must("create", r.HTTPResponse, r.Body, err, 201)
	if *r.JSON201.User != 3 || *r.JSON201.Config.HTTPPort != 80 || len(*r.JSON201.Ports) != 0 || r.JSON201.Address == nil {
		t.Errorf("%s", r.Body)
	}
	r, err = dev.CreateWithResponse(ctx, "self", wire.InitRequest{Image: lab.Tiny})
	w.must("create again", r.HTTPResponse, r.Body, err, 409)
	down, err := dev.ShutdownWithResponse(ctx, "self")
	w.must("shut down what is not running", down.HTTPResponse, down.Body, err, 404)
	up, err := dev.StartWithResponse(ctx, "self")
	w.must("boot", up.HTTPResponse, up.Body, err, 204)
	up, err = dev.StartWithResponse(ctx, "self")
	w.must("boot again", up.HTTPResponse, up.Body, err, 409)
	s, err := dev.GetStateWithResponse(ctx, "self")
	w.must("state", s.HTTPResponse, s.Body, err, 200)
	if !s.JSON200.Running || s.JSON200.Usage.Processes < 1 || s.JSON200.NetworkInterfaces["eth0"].Mac == "" || *s.JSON200.Status != wire.StatusAwake {
		t.Errorf("%s", s.Body)
	}
	port, no := int32(8080), false
	c, err := dev.UpdateConfigWithResponse(ctx, "self", wire.Config{HTTPPort: &port, SniPassthrough: &no})
	w.must("config", c.HTTPResponse, c.Body, err, 200)
	if *c.JSON200.HTTPPort != 80 {
		t.Errorf("not the old one: %s", c.Body)
	}
	p, err := dev.AddRandomPortWithResponse(ctx, "self", 22)
	w.must("port", p.HTTPResponse, p.Body, err, 201)
	again, err := w.client("admin").AddPortWithResponse(ctx, "id:3", p.JSON201.EPort, 23)
	w.must("the same port", again.HTTPResponse, again.Body, err, 409)
	g, err = dev.GetWithResponse(ctx, "self")
	w.must("get", g.HTTPResponse, g.Body, err, 200)
	if *g.JSON200.Config.HTTPPort != 8080 || (*g.JSON200.Ports)[fmt.Sprint(p.JSON201.EPort)] != 22 {
		t.Errorf("%s", g.Body)
	}
	i, err := dev.GetImagesWithResponse(ctx)
	w.must("images", i.HTTPResponse, i.Body, err, 200)
	if len(*i.JSON200) == 0 {
		t.Errorf("%s", i.Body)
	}
	l, err := dev.GetLogWithResponse(ctx, "self")
	w.must("log", l.HTTPResponse, l.Body, err, 200)
	e, err := dev.ExecWithResponse(ctx, "self", wire.ExecRequest{Command: "echo out; echo err >&2; exit 7"})
	w.must("exec", e.HTTPResponse, e.Body, err, 200)
	if e.JSON200.Stdout != "out\n" || e.JSON200.Stderr != "err\n" || e.JSON200.ExitCode != 7 {
		t.Errorf("%s", e.Body)
	}
	reboot, err := dev.RebootWithResponse(ctx, "self")
	w.must("reboot", reboot.HTTPResponse, reboot.Body, err, 204)
}

func (w *world) exec() {
	t := w.t
	// A terminal, with input, its size and a signal.
	c := w.dial("exec", `{"command":["sh","-c","echo ready; read x; echo got $x; trap 'exit 9' INT; while :; do stty size; sleep 0.1; done"],"width":80,"height":24}`)
	w.until(c, "ready")
	w.send(c, websocket.MessageBinary, "hello\n")
	w.until(c, "got hello")
	w.until(c, "24 80")
	w.send(c, websocket.MessageText, `{"resize":{"width":132,"height":43}}`)
	w.until(c, "43 132")
	for { // the shell may be between two commands, where it misses one
		_ = c.Write(w.ctx, websocket.MessageText, []byte(`{"signal":2}`))
		_, _, err := c.Read(w.ctx)
		var closed websocket.CloseError
		if errors.As(err, &closed) {
			if closed.Code != 1000 || closed.Reason != "9" {
				t.Error(closed)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Pipes: both streams exact, 1 MiB each way.
	c = w.dial("exec", `{"command":["sh","-c","tee /run/copy; cat /run/copy >&2; exit 5"],"terminal":false}`)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var writing sync.WaitGroup
	writing.Go(func() {
		for part := range 32 {
			if err := c.Write(w.ctx, websocket.MessageBinary, sent[part<<15:(part+1)<<15]); err != nil {
				t.Error(err)
				return
			}
		}
		if err := c.Write(w.ctx, websocket.MessageText, []byte(`{"eof":true}`)); err != nil {
			t.Error(err)
		}
	})
	streams := map[byte][]byte{}
	for {
		_, b, err := c.Read(w.ctx)
		var closed websocket.CloseError
		if errors.As(err, &closed) {
			if closed.Code != 1000 || closed.Reason != "5" {
				t.Error(closed)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		streams[b[0]] = append(streams[b[0]], b[1:]...)
	}
	writing.Wait()
	if !bytes.Equal(streams[1], sent) || !bytes.Equal(streams[2], sent) {
		t.Errorf("stdout %d, stderr %d of %d bytes", len(streams[1]), len(streams[2]), len(sent))
	}
	// The client goes, and the process with it.
	c = w.dial("exec", `{"command":["sh","-c","echo ready; exec sleep 54321"],"width":80,"height":24}`)
	w.until(c, "ready")
	c.CloseNow()
	eventually(t, "the process ends", func() bool {
		e, err := w.client("dev").ExecWithResponse(w.ctx, "self", wire.ExecRequest{Command: "ps | grep '[s]leep 54321' || true"})
		w.must("ps", e.HTTPResponse, e.Body, err, 200)
		return e.JSON200.Stdout == ""
	})
	c = w.dial("exec", `{"command":["/no/such/program"],"width":80,"height":24}`)
	if _, code, reason := w.rest(c); code != 1011 && reason != "127" {
		t.Error(code, reason)
	}
}

func (w *world) console() {
	for range 2 { // and attach again
		eventually(w.t, "the console can be attached", func() bool {
			c := w.dial("console", `{"width":80,"height":24}`)
			w.send(c, websocket.MessageText, `{"width":100,"height":30}`)
			second := w.dial("console", `{"width":80,"height":24}`)
			if _, code, reason := w.rest(second); code != 1011 || !strings.Contains(reason, "the console is in use") {
				return false // the one before is still being detached
			}
			w.send(c, websocket.MessageBinary, "\r")
			_ = c.Close(websocket.StatusNormalClosure, "")
			return true
		})
	}
}

func (w *world) files() {
	t, dev, ctx := w.t, w.client("dev"), w.ctx
	octets := "application/octet-stream"
	mode, kind := "4750", wire.TypeDirectory
	d, err := dev.WriteFileWithBodyWithResponse(ctx, "self", &wire.WriteFileParams{Path: "/srv/a b/c", Type: &kind}, octets, nil)
	w.must("directory", d.HTTPResponse, d.Body, err, 204)
	content := strings.Repeat("x", 3<<20)
	d, err = dev.WriteFileWithBodyWithResponse(ctx, "self", &wire.WriteFileParams{Path: "/srv/a b/f", Mode: &mode}, octets, strings.NewReader(content))
	w.must("file", d.HTTPResponse, d.Body, err, 204)
	kind = wire.TypeSymlink
	for range 2 { // the second replaces the first
		d, err = dev.WriteFileWithBodyWithResponse(ctx, "self", &wire.WriteFileParams{Path: "/srv/a b/l", Type: &kind}, octets, strings.NewReader("f"))
		w.must("symlink", d.HTTPResponse, d.Body, err, 204)
	}
	f, err := dev.ReadFileWithResponse(ctx, "self", &wire.ReadFileParams{Path: "/srv/a b/l"})
	w.must("read", f.HTTPResponse, f.Body, err, 200)
	if string(f.Body) != content {
		t.Errorf("%d of %d bytes", len(f.Body), len(content))
	}
	f, err = dev.ReadFileWithResponse(ctx, "self", &wire.ReadFileParams{Path: "/srv/a b"})
	w.must("list", f.HTTPResponse, f.Body, err, 200)
	if f.JSON200 == nil || len(*f.JSON200) != 3 {
		t.Fatalf("%s", f.Body)
	}
	for _, e := range *f.JSON200 {
		if e.Name == "l" && (e.Type != wire.TypeSymlink) || e.Name == "f" && (e.Size != int64(len(content)) || e.Type != wire.TypeFile) {
			t.Errorf("%+v", e)
		}
	}
	follow := false
	r, err := dev.ReadFileWithResponse(ctx, "self", &wire.ReadFileParams{Path: "/srv/a b/l", Follow: &follow})
	w.must("the symlink itself", r.HTTPResponse, r.Body, err, 200)
	if string(r.Body) != "f" || r.HTTPResponse.Header.Get("X-Lanyard-Type") != "symlink" {
		t.Errorf("%q %v", r.Body, r.HTTPResponse.Header)
	}
	r, err = dev.ReadFileWithResponse(ctx, "self", &wire.ReadFileParams{Path: "/srv/none"})
	w.must("nothing", r.HTTPResponse, r.Body, err, 404)
	x, err := dev.DeleteFileWithResponse(ctx, "self", &wire.DeleteFileParams{Path: "/srv/a b/l"})
	w.must("delete", x.HTTPResponse, x.Body, err, 204)
}

// crowd creates at once: all succeed, and no two share an address or a port.
func (w *world) crowd() {
	t := w.t
	var all sync.WaitGroup
	made := make([]*wire.Webspace, crowd)
	ports := make([]int32, crowd)
	for n := range crowd {
		all.Go(func() {
			c := w.client(fmt.Sprintf("m%d", n))
			r, err := c.CreateWithResponse(w.ctx, "self", wire.InitRequest{Image: lab.Tiny})
			if err != nil || r.JSON201 == nil {
				t.Errorf("%d: %v %s", n, err, r.Body)
				return
			}
			p, err := c.AddRandomPortWithResponse(w.ctx, "self", 80)
			if err != nil || p.JSON201 == nil {
				t.Errorf("%d: %v %s", n, err, p.Body)
				return
			}
			made[n], ports[n] = r.JSON201, p.JSON201.EPort
		})
	}
	all.Wait()
	addresses, external := map[string]bool{}, map[int32]bool{}
	for n, m := range made {
		if m != nil {
			addresses[*m.Address], external[ports[n]] = true, true
		}
	}
	if len(addresses) != crowd || len(external) != crowd {
		t.Errorf("%d addresses and %d ports for %d", len(addresses), len(external), crowd)
	}
	limit := int32(5)
	seen, params := 0, &wire.ListWebspacesParams{Limit: &limit}
	for {
		l, err := w.client("admin").ListWebspacesWithResponse(w.ctx, params)
		w.must("list", l.HTTPResponse, l.Body, err, 200)
		seen += len(l.JSON200.Webspaces)
		if l.JSON200.Next == nil {
			break
		}
		params.Cursor = l.JSON200.Next
	}
	if seen > crowd+1 {
		t.Errorf("%d are listed of %d", seen, crowd+1)
	}
}

// absent: LXD goes in the middle of a command, requests fail with a clear error, and all is well once it is back.
func (w *world) absent() {
	t, dev := w.t, w.client("dev")
	c := w.dial("exec", `{"command":["sh","-c","echo ready; sleep 1000"],"width":80,"height":24}`)
	w.until(c, "ready")
	if err := w.node.StopLXD(w.ctx, true); err != nil {
		t.Fatal(err)
	}
	if _, code, reason := w.rest(c); code != 1011 || reason == "" {
		t.Error(code, reason)
	}
	g, err := dev.GetWithResponse(w.ctx, "self")
	w.must("while LXD is away", g.HTTPResponse, g.Body, err, 500)
	if g.HTTPResponse.Header.Get("Retry-After") == "" || *g.ApplicationProblemJSON500.Code != "unavailable" || strings.Contains(string(g.Body), "unix.socket") {
		t.Errorf("%v %s", g.HTTPResponse.Header, g.Body)
	}
	up, err := dev.StartWithResponse(w.ctx, "self")
	w.must("while LXD is away", up.HTTPResponse, up.Body, err, 500)
	for _, q := range slices.Concat(reads, writes, []request{{"create", create}}) {
		who := "dev"
		if q.what == "create" {
			who = "m11" // who has none
		}
		if a, err := q.do(w.ctx, w.client(who)); err != nil || a.status != 500 || a.code != "unavailable" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s while LXD is away: %+v, %v", q.what, a, err)
		}
	}
	if resp, err := http.Get(strings.TrimSuffix(w.url, "/v1") + "/health"); err != nil || resp.StatusCode != 204 {
		t.Error(err, resp)
	} else {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if err := w.node.StartLXD(w.ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it works again", func() bool {
		e, err := dev.ExecWithResponse(w.ctx, "self", wire.ExecRequest{Command: "echo back"})
		return err == nil && e.JSON200 != nil && e.JSON200.Stdout == "back\n"
	})
	x, err := dev.DeleteWithResponse(w.ctx, "self")
	w.must("delete", x.HTTPResponse, x.Body, err, 204)
	g, err = dev.GetWithResponse(w.ctx, "self")
	w.must("deleted", g.HTTPResponse, g.Body, err, 404)
}
