package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// Addresses of the lab. All are documentation ranges (RFC 5737).
const (
	RouterUnderlay = "192.0.2.254"
	ServerAddr     = "198.51.100.10"
	ClientAddr     = "203.0.113.10"

	routerServer = "198.51.100.254"
	routerClient = "203.0.113.254"
	linkMTU      = 1500
)

// Options of a lab. The zero value of each has a default.
type Options struct {
	ID       string // names the lab among several on one machine, [a-z0-9]{1,12}; default: from the process id
	Nodes    int    // 1 to 32; more than one makes an LXD cluster; default 3
	Dir      string // folder for everything; default: a folder of that id under os.TempDir
	Detached bool   // goes on after this process has ended, until Clean
	NoLXD    bool   // nodes without an LXD daemon
	NoDaemon bool   // without lanyardd
	Control  bool   // n1 has the role control as well: the API at its 127.0.0.1:8081, with local accounts
	Config   string // further YAML for every lanyardd
	// ForeignPeers are addresses on the underlay (see AddHost) of plain kernel VXLAN devices that the nodes know as peers.
	ForeignPeers []string
	BinDir       string // with lanyardd, lanyard and probe; default: bin/ beside go.mod
	Log          *slog.Logger
}

// Lab is a running lab.
type Lab struct {
	ID     string
	Dir    string
	Router *Namespace // "the internet"
	Server *Namespace // in it, 198.51.100.10
	Client *Namespace // in it, 203.0.113.10
	Hosts  []*Namespace
	nodes  []*Node

	binDir   string
	config   string
	foreign  []string
	detached bool
	noLXD    bool
	control  bool
	log      *slog.Logger
}

var idPattern = regexp.MustCompile(`^[a-z0-9]{1,12}$`)

// New builds a lab. On an error everything it had made is gone again.
func New(ctx context.Context, o Options) (_ *Lab, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("build a lab: not permitted; likely cause: not root (namespaces, LXD, BPF need it); next: run as root")
	}
	if o.ID == "" {
		o.ID = "p" + strconv.FormatInt(int64(os.Getpid()), 36)
	}
	if !idPattern.MatchString(o.ID) {
		return nil, fmt.Errorf("build a lab: id %q does not match %s; next: choose another id", o.ID, idPattern)
	}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Nodes < 1 || o.Nodes > 32 {
		return nil, fmt.Errorf("build a lab: %d nodes; it can have 1 to 32", o.Nodes)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dir == "" {
		o.Dir = defaultDir(o.ID)
	}
	if o.BinDir == "" {
		root, err := findRoot()
		if err != nil {
			return nil, err
		}
		o.BinDir = filepath.Join(root, "bin")
	}
	if s, err := readState(o.Dir); err == nil && s.alive() {
		return nil, fmt.Errorf("build a lab: lab %q is running already (%s); next: lab down --id %s", o.ID, o.Dir, o.ID)
	}
	if err := Clean(o.ID, o.Dir); err != nil {
		return nil, err
	}
	cleanDead(o.Log)
	if err := os.MkdirAll(o.Dir, 0o711); err != nil {
		return nil, err
	}
	l := &Lab{ID: o.ID, Dir: o.Dir, binDir: o.BinDir, config: o.Config, foreign: o.ForeignPeers, detached: o.Detached, noLXD: o.NoLXD, control: o.Control, log: o.Log}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if err := os.WriteFile(filepath.Join(l.Dir, "holder.sh"), holderScript, 0o755); err != nil {
		return nil, err
	}
	if err := l.internet(ctx); err != nil {
		return nil, err
	}
	start := time.Now()
	group, gctx := errgroup.WithContext(ctx)
	l.nodes = make([]*Node, o.Nodes)
	for i := range l.nodes {
		group.Go(func() (err error) {
			l.nodes[i], err = l.newNode(gctx, i+1)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		l.nodes = compact(l.nodes)
		return nil, err
	}
	l.log.Info("nodes", "count", o.Nodes, "took", time.Since(start).Round(time.Millisecond))
	if err := l.writeState(); err != nil {
		return nil, err
	}
	if !o.NoLXD {
		if err := l.cluster(ctx); err != nil {
			return nil, err
		}
		if err := l.ImportTiny(ctx); err != nil {
			return nil, err
		}
	}
	if !o.NoDaemon {
		if err := l.StartLanyardds(ctx); err != nil {
			return nil, err
		}
	}
	return l, l.writeState()
}

func compact(nodes []*Node) []*Node {
	var list []*Node
	for _, n := range nodes {
		if n != nil {
			list = append(list, n)
		}
	}
	return list
}

// internet makes the router with the underlay's switch in it, the server and the client.
func (l *Lab) internet(ctx context.Context) (err error) {
	if l.Router, err = l.hold(ctx, "plain", "router", ""); err != nil {
		return err
	}
	if err := l.Router.quiet(ctx); err != nil {
		return err
	}
	if err := l.Router.Sysctl(ctx, "net.ipv4.ip_forward", "1"); err != nil {
		return err
	}
	if err := l.Router.bridge("underlay"); err != nil {
		return err
	}
	if err := l.Router.address("underlay", RouterUnderlay+"/24"); err != nil {
		return err
	}
	for _, h := range []struct {
		ns                  **Namespace
		name, address, gate string
	}{
		{&l.Server, "server", ServerAddr, routerServer},
		{&l.Client, "client", ClientAddr, routerClient},
	} {
		ns, err := l.hold(ctx, "plain", h.name, "")
		if err != nil {
			return err
		}
		*h.ns = ns
		if err := ns.quiet(ctx); err != nil {
			return err
		}
		if err := link(l.Router, h.name, ns, "eth0", linkMTU); err != nil {
			return err
		}
		if err := l.Router.address(h.name, h.gate+"/24"); err != nil {
			return err
		}
		if err := ns.address("eth0", h.address+"/24"); err != nil {
			return err
		}
		if err := ns.defaultRoute(h.gate); err != nil {
			return err
		}
	}
	return nil
}

// join connects a namespace to the underlay with this address (without length).
func (l *Lab) join(ctx context.Context, ns *Namespace, address string) error {
	if err := ns.quiet(ctx); err != nil {
		return err
	}
	if err := link(l.Router, ns.Name, ns, "eth0", linkMTU); err != nil {
		return err
	}
	if err := l.Router.enslave(ns.Name, "underlay"); err != nil {
		return err
	}
	if err := ns.address("eth0", address+"/24"); err != nil {
		return err
	}
	return ns.defaultRoute(RouterUnderlay)
}

// AddHost puts a further machine on the underlay: not a node, for example a plain kernel VXLAN peer or a stranger.
func (l *Lab) AddHost(ctx context.Context, name, address string) (*Namespace, error) {
	ns, err := l.hold(ctx, "plain", name, "")
	if err != nil {
		return nil, err
	}
	l.Hosts = append(l.Hosts, ns)
	if err := l.join(ctx, ns, address); err != nil {
		return nil, err
	}
	return ns, l.writeState()
}

// RemoveHost takes away what AddHost made.
func (l *Lab) RemoveHost(ns *Namespace) {
	ns.kill()
	l.Hosts = slices.DeleteFunc(l.Hosts, func(h *Namespace) bool { return h == ns })
}

// SetClientMTU changes the MTU of the link between router and client, as a narrower path in the middle would: the
// client's own interface keeps its own, so that only ICMP tells it.
func (l *Lab) SetClientMTU(mtu int) error {
	// The veth's far end takes larger frames than its own MTU only up to that MTU: raise the client's, lower the router's.
	return l.Router.mtu("client", mtu)
}

// BinDir is where the lab's programs come from.
func (l *Lab) BinDir() string { return l.binDir }

// Node is the node with that number, from 1.
func (l *Lab) Node(i int) *Node { return l.nodes[i-1] }

// Nodes are all nodes in their order.
func (l *Lab) Nodes() []*Node { return l.nodes }

func (l *Lab) namespaces() []*Namespace {
	var all []*Namespace
	for _, n := range l.nodes {
		all = append(all, n.Namespace)
	}
	for _, ns := range append([]*Namespace{l.Client, l.Server, l.Router}, l.Hosts...) {
		if ns != nil {
			all = append(all, ns)
		}
	}
	return all
}

// Close takes the lab down and checks that nothing is left.
func (l *Lab) Close() error {
	group := errgroup.Group{}
	for _, ns := range l.namespaces() {
		group.Go(func() error { ns.kill(); return nil })
	}
	_ = group.Wait()
	return Clean(l.ID, l.Dir)
}

func defaultDir(id string) string { return filepath.Join(os.TempDir(), "lanyard-lab", id) }

func cgroupPrefix(id string) string { return "lanyard-lab-" + id + "-" }

// findRoot looks for the folder with this module's go.mod, from the working directory up.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("find the checkout: no go.mod in %s or above; next: run inside a checkout of Lanyard", dir)
		}
	}
}
