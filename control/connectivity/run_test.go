package connectivity

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/connectivity/probe"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/webspace"
)

// fakeLXD keeps instances in memory; a script answers probes.
type fakeLXD struct {
	mu        sync.Mutex
	clustered bool
	members   []webspace.Member
	instances map[string]webspace.Instance
	images    map[string]bool
	failAt    int // the nth creation fails
	created   int
	answer    func(i webspace.Instance, command []string) (any, error)
}

func (f *fakeLXD) Server(context.Context) (webspace.Server, error) {
	return webspace.Server{Name: "n1", Clustered: f.clustered, Version: "5.0.2"}, nil
}
func (f *fakeLXD) Members(context.Context) ([]webspace.Member, error) { return f.members, nil }
func (f *fakeLXD) List(context.Context) ([]webspace.Instance, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []webspace.Instance
	for _, i := range f.instances {
		out = append(out, i)
	}
	return out, nil
}
func (f *fakeLXD) Create(_ context.Context, o webspace.CreateOptions) (webspace.Instance, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.created++; f.created == f.failAt {
		return webspace.Instance{}, &webspace.Problem{What: "could not create", Cause: "no space", Kind: webspace.ErrUnavailable}
	}
	if !f.images[o.Image] {
		return webspace.Instance{}, errors.New("unknown image")
	}
	address := netip.AddrFrom4([4]byte{127, 24, 9, byte(o.UID)}) // nothing may leave this machine
	i := webspace.Instance{Name: "ws-u" + string(rune('A'+f.created)), UID: o.UID, Node: o.Node, Created: time.Now(), Purpose: o.Config[webspace.PurposeKey], Record: o.Record}
	i.Record.Address = address
	f.instances[i.Name] = i
	return i, nil
}
func (f *fakeLXD) Delete(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.instances, name)
	return nil
}
func (f *fakeLXD) Exec(_ context.Context, name string, command []string) (webspace.ExecResult, error) {
	f.mu.Lock()
	i := f.instances[name]
	f.mu.Unlock()
	v, err := f.answer(i, command[1:])
	if err != nil {
		return webspace.ExecResult{Code: 1, Stderr: []byte(err.Error())}, nil
	}
	b, err := json.Marshal(v)
	return webspace.ExecResult{Stdout: b}, err
}
func (f *fakeLXD) ImportImage(_ context.Context, r io.Reader, _ map[string]string) (string, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	print := fingerprintOf(b)
	if f.images[print] {
		return "", &webspace.Problem{What: "could not import an image", Kind: webspace.ErrExists}
	}
	f.images[print] = true
	return print, nil
}
func (f *fakeLXD) DeleteImage(_ context.Context, print string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.images, print)
	return nil
}

type fakeDaemon struct{ ready bool }

func (d fakeDaemon) Status(context.Context) (nodeapi.Status, error) {
	return nodeapi.Status{Readiness: nodeapi.Readiness{Ready: d.ready}, Node: nodeapi.Node{
		Name: "n1", IP: netip.MustParseAddr("172.24.0.1"), Prefix: netip.MustParsePrefix("172.24.0.0/16"), Gateway: netip.MustParseAddr("172.24.254.1"),
		MTU: 1450, UplinkIP: netip.MustParseAddr("127.0.0.9")}}, nil
}

// member that is no test's must survive whatever happens.
func world() *fakeLXD {
	member := webspace.Instance{Name: "ws-u3", UID: 3, Record: webspace.Record{Ports: webspace.Ports{50000: 22}}}
	return &fakeLXD{instances: map[string]webspace.Instance{"ws-u3": member}, images: map[string]bool{},
		answer: func(webspace.Instance, []string) (any, error) { return nil, errors.New("silence") }}
}

// binary is a small static program.
func binary(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "static"), filepath.Join(dir, "main.go"))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GO111MODULE=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	return filepath.Join(dir, "static")
}

func (f *fakeLXD) untouched(t *testing.T) {
	t.Helper()
	if len(f.instances) != 1 || f.instances["ws-u3"].UID != 3 || len(f.images) != 0 {
		t.Errorf("left behind: %v, images %v", f.instances, f.images)
	}
}

func TestNotReady(t *testing.T) {
	f := world()
	if _, err := Run(t.Context(), f, fakeDaemon{}, Options{External: ForwardRange{50000, 50009}}); !nodeapi.HasCode(err, nodeapi.CodeStarting) {
		t.Errorf("got %v", err)
	}
	f.untouched(t)
}

func TestFailedSetupLeavesNothing(t *testing.T) {
	f := world()
	f.failAt = 2
	_, err := Run(t.Context(), f, fakeDaemon{ready: true}, Options{External: ForwardRange{50000, 50009}, Binary: binary(t)})
	if err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("got %v", err)
	}
	f.untouched(t)
}

func TestInterruptionLeavesNothing(t *testing.T) {
	f := world()
	ctx, cancel := context.WithCancel(t.Context())
	f.answer = func(webspace.Instance, []string) (any, error) {
		cancel()
		return nil, errors.New("silence")
	}
	if _, err := Run(ctx, f, fakeDaemon{ready: true}, Options{External: ForwardRange{50000, 50009}, Binary: binary(t)}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	f.untouched(t)
}

// TestWrongAnswersAreFound gives leases, and then wrong answers to everything: each test must notice.
func TestWrongAnswersAreFound(t *testing.T) {
	f := world()
	f.clustered = true
	f.members = []webspace.Member{{Name: "n1", Online: true}, {Name: "n3", Online: false},
		{Name: "n2", Online: true, Node: webspace.Node{Forwards: []netip.Addr{netip.MustParseAddr("127.0.0.8")}}}}
	stranger := probe.Hello{Name: "somebody", Peer: netip.MustParseAddrPort("172.24.9.250:1")}
	f.answer = func(i webspace.Instance, command []string) (any, error) {
		switch command[0] {
		case "lease":
			return probe.Lease{Address: netip.PrefixFrom(i.Record.Address, 16), Router: netip.MustParseAddr("172.24.254.1"), MTU: 1450, Time: time.Hour}, nil
		case "ping":
			return probe.Pings{Sent: 3, Received: 2}, nil
		case "tcp", "udp", "open":
			return probe.Talk{Hello: stranger}, nil
		case "arp":
			return probe.ARPs{Sent: 3, Replies: 3, Unicast: 3, MAC: "02:00:00:00:00:99"}, nil
		case "seen":
			return 2, nil
		}
		return nil, nil
	}
	var seen []Outcome
	r, err := Run(t.Context(), f, fakeDaemon{ready: true}, Options{External: ForwardRange{50000, 50009}, Binary: binary(t), Outside: []string{"192.0.2.77", "nonsense"},
		Denied: netip.MustParseAddr("169.254.169.254"), Each: func(o Outcome) { seen = append(seen, o) }})
	if err != nil {
		t.Fatal(err)
	}
	f.untouched(t)
	if len(seen) != len(r.Outcomes) || r.Good() {
		t.Errorf("%d outcomes were shown, %d are in the report, good: %v", len(seen), len(r.Outcomes), r.Good())
	}
	for _, o := range r.Outcomes {
		// A ping that loses some reaches the outside all the same; and on this machine ports are unreachable indeed.
		tolerant := o.Name == "NAT to the outside" && o.To == "192.0.2.77" || o.Name == "forward, port unreachable comes back"
		if (o.Name == leaseTest || tolerant) != (o.Status == OK) || o.Status == Failed && (o.Detail == "" || o.Do == "") {
			t.Errorf("%+v", o)
		}
	}
	if !slices.ContainsFunc(r.Outcomes, func(o Outcome) bool { return strings.HasPrefix(o.Name, "forward, UDP") }) {
		t.Error("no forward was tried through the other node")
	}
	if !slices.ContainsFunc(r.Outcomes, func(o Outcome) bool { return o.To == "c on n2" }) || slices.ContainsFunc(r.Outcomes, func(o Outcome) bool { return strings.Contains(o.To, "n3") }) {
		t.Error("every node that is online, and no other, must take part")
	}
}

// TestClean removes what earlier runs left, and nobody else's.
func TestClean(t *testing.T) {
	f := world()
	f.instances["ws-u2147400001"] = webspace.Instance{Name: "ws-u2147400001", UID: firstUID + 1, Purpose: purpose}
	f.instances["other"] = webspace.Instance{Name: "other", UID: firstUID + 2} // of a member, by whatever chance
	f.instances["low"] = webspace.Instance{Name: "low", UID: 4, Purpose: purpose}
	if left := remove(t.Context(), f, func(webspace.Instance) bool { return true }); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if len(f.instances) != 3 || f.instances["other"].Name == "" || f.instances["low"].Name == "" {
		t.Errorf("now there are %v", f.instances)
	}
}

func TestImage(t *testing.T) {
	file := binary(t)
	one, err := imageOf(file)
	if err != nil {
		t.Fatal(err)
	}
	if two, err := imageOf(file); err != nil || !bytes.Equal(one, two) {
		t.Errorf("the same binary gives another image (%v)", err)
	}
	var names []string
	for r := tar.NewReader(bytes.NewReader(one)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if names[0] != "metadata.yaml" || !slices.Contains(names, "rootfs/sbin/init") {
		t.Errorf("the image has %v", names)
	}
	if _, err := imageOf("/bin/sh"); err == nil || !strings.Contains(err.Error(), "dynamically") {
		t.Errorf("a dynamically linked program was taken: %v", err)
	}
}
