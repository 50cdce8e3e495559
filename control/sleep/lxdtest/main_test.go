package lxdtest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// All tests share one lab of one node, and run one after the other. Nothing is asserted about time but that waits end.
var (
	shared *lab.Lab
	node   *lab.Node
)

// config: the lab's one client wakes often, and nobody should wait long. How much memory this machine has must not matter
// but where a test says so.
const config = `wake: {per_source: 100000, per_webspace: 100000}
sleep: {check: 200ms, min_free: 64, stalled: 0}
`

const (
	limit    = 90 * time.Second // of every wait
	echoPort = 7000             // of probe serve, which every webspace runs
)

func TestMain(m *testing.M) {
	code, err := setUp(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lxdtest:", err)
		code = 1
	}
	os.Exit(code)
}

func setUp(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	bin, err := lab.Build(ctx)
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(bin)
	shared, err = lab.New(ctx, lab.Options{Nodes: 1, BinDir: bin, Config: config, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return 1, err
	}
	defer func() {
		if closeErr := shared.Close(); closeErr != nil && err == nil {
			err = closeErr
		}
	}()
	node = shared.Node(1)
	return m.Run(), nil
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("lanyardd said: %s", node.LogTail("lanyardd"))
		}
	})
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// space is a webspace that runs and is reachable, with a forward to its echo.
type space struct {
	*lab.Webspace
	store *webspace.Store
	echo  string // external address of it
}

var uids = 300

func start(t *testing.T, ctx context.Context) space {
	t.Helper()
	uids++
	port := uint16(50000 + uids)
	w, err := node.AddWebspace(ctx, uids, lab.WebspaceOptions{Ports: webspace.Ports{port: echoPort}})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		must(t, w.Delete(ctx))
	})
	store, err := node.Store()
	must(t, err)
	s := space{w, store, fmt.Sprintf("%s:%d", node.Addr(), port)}
	s.use(t, ctx)
	return s
}

// idle sets its policy.
func (s space) idle(t *testing.T, ctx context.Context, nap, sleep time.Duration) {
	t.Helper()
	must(t, s.Update(ctx, func(r *webspace.Record) error {
		r.Config.Idle.NapAfter, r.Config.Idle.SleepAfter = nap, sleep
		return nil
	}))
}

// is waits until LXD says so.
func (s space) is(t *testing.T, ctx context.Context, want webspace.Status) {
	t.Helper()
	must(t, lab.Eventually(ctx, limit, func() error {
		i, err := s.store.Get(ctx, s.Name)
		if err == nil && i.Status != want {
			err = fmt.Errorf("%s is %s, not %s", s.Name, i.Status, want)
		}
		return err
	}))
}

// open opens a connection to its echo, and waits for its greeting. It may have to be woken for that.
func (s space) open(ctx context.Context) (c net.Conn, err error) {
	err = shared.Client.Do(func() error {
		var err error
		d := net.Dialer{Timeout: limit}
		c, err = d.DialContext(ctx, "tcp4", s.echo) // one literal address: it is done on this thread
		return err
	})
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(limit))
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(line, "peer ") {
		_ = c.Close()
		return nil, fmt.Errorf("its greeting is %q: %w", line, err)
	}
	return c, c.SetDeadline(time.Time{})
}

// use uses it for a moment.
func (s space) use(t *testing.T, ctx context.Context) {
	t.Helper()
	must(t, lab.Eventually(ctx, limit, func() error {
		c, err := s.open(ctx)
		if err == nil {
			err = c.Close()
		}
		return err
	}))
}

// wakes are what the node remembers of it, the newest first, but for the test's own start.
func (s space) wakes(t *testing.T, ctx context.Context) []nodeapi.Wake {
	t.Helper()
	var p nodeapi.WakePage
	ask(t, ctx, &p, "wakes", s.Name, "--json", "--limit", "100")
	return slices.DeleteFunc(p.Wakes, func(w nodeapi.Wake) bool { return w.Kind == "wake" && w.Via == "admin" })
}

// awake is why it is.
func (s space) awake(t *testing.T, ctx context.Context) nodeapi.AwakeState {
	t.Helper()
	var l nodeapi.AwakeList
	ask(t, ctx, &l, "awake", s.Name, "--json")
	if len(l.Webspaces) != 1 {
		t.Fatalf("%+v", l)
	}
	return l.Webspaces[0]
}

// ask runs the CLI. The daemon may just be starting.
func ask(t *testing.T, ctx context.Context, into any, args ...string) {
	t.Helper()
	must(t, lab.Eventually(ctx, limit, func() error {
		out, err := node.Lanyard(ctx, args...)
		if err == nil {
			err = json.Unmarshal([]byte(out), into)
		}
		return err
	}))
}

// kinds puts what happened into words, the oldest first.
func kinds(list []nodeapi.Wake) string {
	var out []string
	for n := len(list) - 1; n >= 0; n-- {
		out = append(out, list[n].Kind+" "+list[n].Via+" "+list[n].Outcome)
	}
	return strings.Join(out, ", ")
}
