package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// All tests share one lab, because it takes seconds to build: n1 to n3 run lanyardd, n4 is only a member of the LXD cluster
// (an unrelated peer). Tests run one after the other, and leave what they found.
var (
	shared *lab.Lab
	newer  string // another build of lanyardd

	onN1, onN1too, onN2, onN3 *lab.Webspace
)

// External ports of the shared webspaces. Each node forwards all of them.
const (
	echoPort = 7000 // of probe serve

	portN1 = 50001
	portN2 = 50002
	altN2  = 50012 // a second way to the same port
	portN3 = 50003
	webN1  = 50081
	webN3  = 50083
)

// plainPeer is a machine on the underlay with nothing but the kernel's own VXLAN device.
const plainPeer = "192.0.2.20"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		beVictim(dir)
	}
	code, err := setUp(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		code = 1
	}
	os.Exit(code)
}

func setUp(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	defer cancel()
	bin, err := lab.Build(ctx)
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(bin)
	newer = filepath.Join(bin, "newer", "lanyardd")
	if err := lab.BuildDaemon(ctx, filepath.Dir(newer), "newer"); err != nil {
		return 1, err
	}
	shared, err = lab.New(ctx, lab.Options{
		Nodes: 4, BinDir: bin, NoDaemon: true, ForeignPeers: []string{plainPeer}, Config: sharedConfig,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return 1, err
	}
	defer func() {
		if closeErr := shared.Close(); closeErr != nil && err == nil {
			err = closeErr
		}
	}()
	for i := 1; i <= 3; i++ {
		if err := shared.Node(i).StartLanyardd(ctx); err != nil {
			return 1, err
		}
	}
	for _, program := range []string{"serve", "names"} {
		if _, err := shared.Server.Background(program, "probe", program); err != nil {
			return 1, err
		}
	}
	for _, w := range []struct {
		into **lab.Webspace
		node int
		uid  int
		o    lab.WebspaceOptions
	}{
		{&onN1, 1, 1, lab.WebspaceOptions{Ports: webspace.Ports{portN1: echoPort, webN1: 80}, UDPPorts: webspace.Ports{portN1: echoPort}}},
		{&onN1too, 1, 11, lab.WebspaceOptions{}},
		{&onN2, 2, 2, lab.WebspaceOptions{Ports: webspace.Ports{portN2: echoPort, altN2: echoPort}, UDPPorts: webspace.Ports{portN2: echoPort, altN2: echoPort}}},
		{&onN3, 3, 3, lab.WebspaceOptions{Ports: webspace.Ports{portN3: echoPort, webN3: 80}, UDPPorts: webspace.Ports{portN3: echoPort}}},
	} {
		if *w.into, err = shared.Node(w.node).AddWebspace(ctx, w.uid, w.o); err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}

// sharedConfig: a small flow table, so that a test can fill it; names outside come from the lab's own server.
const sharedConfig = "limits: {flows: 4096}\ndns: {upstreams: [" + lab.ServerAddr + "]}\n"

func testContext(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// status is what lanyardd on a node says.
func status(ctx context.Context, n *lab.Node) (nodeapi.Status, error) {
	var s nodeapi.Status
	out, err := n.Lanyard(ctx, "status", "--json")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// drops is how many packets a node has dropped for a reason, so far.
func drops(t *testing.T, ctx context.Context, n *lab.Node, reason string) uint64 {
	t.Helper()
	s, err := status(ctx, n)
	must(t, err)
	var sum uint64
	for _, d := range s.Drops {
		if d.Reason == reason {
			sum += d.Packets
		}
	}
	return sum
}

// resync makes a node look at everything now.
func resync(t *testing.T, ctx context.Context, nodes ...*lab.Node) {
	t.Helper()
	for _, n := range nodes {
		_, err := n.Exec(ctx, "curl", "-sf", "--max-time", "20", "--unix-socket", nodeapi.DefaultSocket, "-X", "POST", "http://node"+nodeapi.PathResync)
		must(t, err)
	}
}

// pingResult is what probe ping prints.
type pingResult struct {
	Sent, Received, Lost, Duplicates, Errors int
	MaxRTT                                   float64
	LostAt                                   []int
}

// dialResult is what probe dial prints.
type dialResult struct {
	Peer, Local, Error string
	Millis             float64
}

// streamResult is what probe stream prints.
type streamResult struct {
	Peer         string
	Sent, Echoed int
	MaxGap       float64
	Error        string
}

// prober is a place where probe can run: a machine of the lab or a webspace.
type prober interface {
	Probe(ctx context.Context, result any, args ...string) error
}

// dial connects from somewhere and returns the address (without port) that the server saw.
func dial(ctx context.Context, from prober, proto, to string) (string, error) {
	var r dialResult
	err := from.Probe(ctx, &r, "dial", "--proto", proto, to)
	host, _, _ := strings.Cut(r.Peer, ":")
	return host, err
}

// wantSeen checks that a server sees a client as want.
func wantSeen(t *testing.T, ctx context.Context, from prober, proto, to, want string) {
	t.Helper()
	seen, err := dial(ctx, from, proto, to)
	if err != nil {
		t.Errorf("%s to %s: %v", proto, to, err)
	} else if seen != want {
		t.Errorf("%s to %s: the server saw %s, want %s", proto, to, seen, want)
	}
}

// wantPing checks that count pings get count answers.
func wantPing(t *testing.T, ctx context.Context, from prober, to string, count int) {
	t.Helper()
	var r pingResult
	if err := from.Probe(ctx, &r, "ping", "--count", fmt.Sprint(count), "--interval", "20ms", to); err != nil {
		t.Errorf("ping %s: %v", to, err)
	} else if r.Received != count {
		t.Errorf("ping %s: %d of %d answers", to, r.Received, count)
	}
}

// external is a node's address with a port.
func external(n *lab.Node, port int) string { return fmt.Sprintf("%s:%d", n.Addr(), port) }
