package waketest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// All tests share one lab of two nodes, and run one after the other. Nothing is asserted about time but that waits end.
var (
	shared *lab.Lab
	n1, n2 *lab.Node
)

// config: all clients of the lab have one address, and the tests wake often.
const config = "lan: {pods: true}\nwake: {per_source: 100000, per_webspace: 100000}\n"

const (
	limit    = 90 * time.Second // of every wait
	echoPort = 7000             // of probe serve, which every webspace runs
	webPort  = 80
)

func TestMain(m *testing.M) {
	code, err := setUp(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "waketest:", err)
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
	shared, err = lab.New(ctx, lab.Options{Nodes: 2, BinDir: bin, Config: config, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return 1, err
	}
	defer func() {
		if closeErr := shared.Close(); closeErr != nil && err == nil {
			err = closeErr
		}
	}()
	n1, n2 = shared.Node(1), shared.Node(2)
	return m.Run(), nil
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// space is a webspace that is asleep, with forwards to its ports.
type space struct {
	*lab.Webspace
	web, echo int // external ports
}

var uids = 100

// asleep makes a webspace that has never run, on a node, and waits until both nodes know it.
func asleep(t *testing.T, ctx context.Context, n *lab.Node, o lab.WebspaceOptions) space {
	t.Helper()
	uids++
	s := space{web: 50000 + 2*uids, echo: 50001 + 2*uids}
	o.Stopped = true
	o.Ports = webspace.Ports{uint16(s.web): webPort, uint16(s.echo): echoPort}
	o.UDPPorts = webspace.Ports{uint16(s.echo): echoPort}
	w, err := n.AddWebspace(ctx, uids, o)
	must(t, err)
	s.Webspace = w
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if t.Failed() {
			for _, n := range shared.Nodes() {
				t.Logf("%s: lanyardd said: %s", n.Name, n.LogTail("lanyardd"))
			}
		}
		if err := lab.Eventually(ctx, limit, func() error { return w.Delete(ctx) }); err != nil { // LXD may be busy with it
			t.Errorf("delete %s: %v", w.Name, err)
		}
	})
	s.known(t, ctx)
	return s
}

// known waits until both nodes forward to it.
func (s space) known(t *testing.T, ctx context.Context) {
	t.Helper()
	for _, n := range shared.Nodes() {
		must(t, lab.Eventually(ctx, limit, func() error {
			out, err := n.Lanyard(ctx, "status", "--json")
			if err == nil && !strings.Contains(out, fmt.Sprintf("%s:%d", s.IP, echoPort)) {
				err = fmt.Errorf("%s does not forward to %s yet", n.Name, s.Name)
			}
			return err
		}))
	}
}

// stop stops it as an admin would, and waits until its node has seen it.
func (s space) stop(t *testing.T, ctx context.Context) {
	t.Helper()
	store, err := s.Node.Store()
	must(t, err)
	must(t, store.Stop(ctx, s.Name, 0))
	s.is(t, ctx, "asleep")
}

// is waits until its node says that it is in that life.
func (s space) is(t *testing.T, ctx context.Context, life string) {
	t.Helper()
	must(t, lab.Eventually(ctx, limit, func() error {
		got, err := s.life(ctx)
		if err == nil && got != life {
			err = fmt.Errorf("%s is %s, not %s", s.Name, got, life)
		}
		return err
	}))
}

// starts counts the wakes that its node has logged since the lab began, and that ended well.
func (s space) starts(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Node.Dir, "lanyardd.log"))
	must(t, err)
	count := 0
	for _, line := range strings.Split(string(b), "\n") {
		if strings.Contains(line, "webspace="+s.Name+" what=wake") {
			count++
		}
	}
	return count
}

// once checks that it was started once. The daemon writes that down a moment after the visitor has been served.
func (s space) once(t *testing.T, ctx context.Context) {
	t.Helper()
	must(t, lab.Eventually(ctx, limit, func() error {
		if s.starts(t) == 0 {
			return fmt.Errorf("no start of %s is in the log", s.Name)
		}
		return nil
	}))
	if n := s.starts(t); n != 1 {
		t.Errorf("%s: %d starts", s.Name, n)
	}
}

func external(n *lab.Node, port int) string { return fmt.Sprintf("%s:%d", n.Addr(), port) }
