package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/webspace"
)

// Webspace is one that the lab made.
type Webspace struct {
	Name string
	UID  int
	IP   netip.Addr
	Node *Node
}

// Store is package webspace's view of the cluster, through the LXD daemon of this node.
func (n *Node) Store() (*webspace.Store, error) {
	return webspace.Connect(webspace.Options{Address: filepath.Join(n.Dir, "lxd", "unix.socket")})
}

// WebspaceOptions of AddWebspace; the zero value is a tiny webspace that is started.
type WebspaceOptions struct {
	Image    string // default Tiny
	MTU      int    // of its NIC; default 1450
	Address  netip.Addr
	Ports    webspace.Ports // TCP: external -> internal
	UDPPorts webspace.Ports
	Config   map[string]string
	Stopped  bool
	// NoWait returns before the webspace has its address.
	NoWait bool
}

// AddWebspace makes the webspace of a uid on this node, in the way the product does, and waits until it has its address.
func (n *Node) AddWebspace(ctx context.Context, uid int, o WebspaceOptions) (*Webspace, error) {
	store, err := n.Store()
	if err != nil {
		return nil, err
	}
	if o.Image == "" {
		o.Image = Tiny
	}
	if o.MTU == 0 {
		o.MTU = 1450
	}
	node := n.Name
	if len(n.lab.nodes) == 1 {
		node = ""
	}
	record := webspace.Record{
		Address: o.Address, Ports: o.Ports, UDPPorts: o.UDPPorts,
		Config: webspace.Config{StartupDelay: 5, HTTPPort: 80},
	}
	i, err := store.Create(ctx, webspace.CreateOptions{
		UID: uid, Image: o.Image, Record: record, Node: node, MTU: o.MTU, Start: !o.Stopped, Config: o.Config,
	})
	if err != nil {
		return nil, err
	}
	w := &Webspace{Name: i.Name, UID: uid, IP: i.Record.Address, Node: n}
	if o.Stopped || o.NoWait {
		return w, nil
	}
	return w, w.WaitAddress(ctx, 60*time.Second)
}

// WaitAddress waits until the webspace's own eth0 has its address.
func (w *Webspace) WaitAddress(ctx context.Context, limit time.Duration) error {
	err := poll(ctx, limit, func() error {
		out, err := w.InNetns(ctx, "ip", "-4", "-o", "addr", "show", "dev", "eth0")
		if err == nil && !strings.Contains(out, " "+w.IP.String()+"/") {
			err = fmt.Errorf("it has no address %s: %s", w.IP, strings.TrimSpace(out))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("webspace %s on %s: %w", w.Name, w.Node.Name, err)
	}
	return nil
}

// Pid of the webspace's init, as its node sees it. It comes from the process list and not from LXD, so that it can be had
// while LXD is away.
func (w *Webspace) Pid(ctx context.Context) (string, error) {
	// The init of a container is the only child of its monitor: "[lxc monitor] PATH NAME".
	const script = `for d in /proc/[0-9]*; do
	c=$(tr '\0' ' ' < $d/cmdline 2>/dev/null) || continue
	case "$c" in "[lxc monitor] "*" $1 "*|"[lxc monitor] "*" $1") cat $d/task/*/children; exit 0 ;; esac
done; exit 1`
	out, err := w.Node.Exec(ctx, "/bin/sh", "-c", script, "sh", w.Name)
	if err != nil {
		return "", fmt.Errorf("%s does not run on %s", w.Name, w.Node.Name)
	}
	pids := strings.Fields(out)
	if len(pids) == 0 {
		return "", fmt.Errorf("%s has no init on %s", w.Name, w.Node.Name)
	}
	return pids[0], nil
}

// InNetns runs a program of the node in the webspace's network namespace: it needs neither LXD nor anything inside.
func (w *Webspace) InNetns(ctx context.Context, args ...string) (string, error) {
	pid, err := w.Pid(ctx)
	if err != nil {
		return "", err
	}
	return w.Node.Exec(ctx, append([]string{"nsenter", "-t", pid, "-n", "--"}, args...)...)
}

// Exec runs a program inside the webspace through LXD.
func (w *Webspace) Exec(ctx context.Context, args ...string) (string, error) {
	return w.Node.LXC(ctx, append([]string{"exec", "-T", w.Name, "--"}, args...)...)
}

// Probe runs a client of hack/lab/probe in the webspace's network namespace and decodes what it prints into result.
// An error of the client itself is returned as well, with the result filled in.
func (w *Webspace) Probe(ctx context.Context, result any, args ...string) error {
	pid, err := w.Pid(ctx)
	if err != nil {
		return err
	}
	return w.Node.probe(ctx, result, []string{"nsenter", "-t", pid, "-n", "--"}, args)
}

// Probe runs a client of hack/lab/probe on this machine of the lab.
func (ns *Namespace) Probe(ctx context.Context, result any, args ...string) error {
	return ns.probe(ctx, result, nil, args)
}

func (ns *Namespace) probe(ctx context.Context, result any, prefix, args []string) error {
	out, err := ns.Exec(ctx, append(append(prefix, "probe"), args...)...)
	if jsonErr := json.Unmarshal([]byte(out), result); jsonErr != nil && err == nil {
		err = fmt.Errorf("probe %s printed %.200q: %w", strings.Join(args, " "), out, jsonErr)
	}
	return err
}

// Delete removes the webspace. A packet may just have woken it, and LXD deletes nothing that it is starting: it is tried
// again for a while.
func (w *Webspace) Delete(ctx context.Context) error {
	store, err := w.Node.Store()
	if err != nil {
		return err
	}
	return poll(ctx, time.Minute, func() error {
		err := store.Delete(ctx, w.Name)
		if errors.Is(err, webspace.ErrNotFound) {
			return nil
		}
		return err
	})
}

// Update changes its record.
func (w *Webspace) Update(ctx context.Context, change func(*webspace.Record) error) error {
	store, err := w.Node.Store()
	if err != nil {
		return err
	}
	return store.Update(ctx, w.Name, change)
}

// Target is the webspace's address with a port.
func (w *Webspace) Target(port int) string { return w.IP.String() + ":" + strconv.Itoa(port) }
