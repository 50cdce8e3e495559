// Package starthook has LXD start the webspaces of this node with a start hook of ours, for which a container's start waits: it
// tells LXD of the start in a few milliseconds where `lxd callhook` takes some fifty, and makes the network interface in as many
// where LXD takes some fifty too. Each is an option, and only for versions of LXD which have been read and compared.
//
// Nothing depends on it: where the program is missing LXC calls lxd or ip, and turning the option off takes it out again.
package starthook

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lanyard-project/lanyard/webspace"
)

// Program is the name of the hook; it lies beside lanyardd.
const Program = "lanyard-hook"

// versions of LXD whose `lxd callhook DIRECTORY PROJECT NAME start` does what the hook does, GET
// /internal/containers/NAME/onstart?project=PROJECT on its socket and no more, and which hand on what raw.lxc says of hooks.
var versions = map[string]bool{"5.0.2": true}

// Where distributions have what is called when the program is missing. A snap's lxd runs in a file system of its own.
var (
	lxdPaths = []string{"/usr/bin/lxd", "/usr/sbin/lxd", "/usr/local/bin/lxd"}
	ipPaths  = []string{"/usr/sbin/ip", "/usr/bin/ip", "/sbin/ip", "/bin/ip"}
)

// off is the advice where it cannot be used.
const off = "turn wake.start_hook and wake.veth_hook off"

const (
	every = 5 * time.Second
	// young instances are just being made: a change would get in the way of their first start.
	young = 5 * time.Second
)

// Store is what it asks of LXD; *webspace.Store is one.
type Store interface {
	Server(context.Context) (webspace.Server, error)
	Address() string
	Hookable(h webspace.StartHook) bool
	HasStartHook(i webspace.Instance, h webspace.StartHook) bool
	SetStartHook(ctx context.Context, name string, h webspace.StartHook) (bool, error)
}

// Keeper keeps the start hooks of this node's webspaces as they should be.
type Keeper struct {
	Call  bool // the program tells LXD of a start
	Veth  bool // it makes the network interface
	Store Store
	Local func() []webspace.Instance // this node's
	Log   *slog.Logger
	Dir   string // of Program; "": that of the running program

	mu   sync.Mutex
	said error
}

// Run works until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		k.pass(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (k *Keeper) pass(ctx context.Context) {
	h, err := k.hook(ctx)
	if ctx.Err() != nil || errors.Is(err, webspace.ErrUnavailable) {
		return // LXD is away: what is written stays
	}
	k.say(err)
	for _, i := range k.Local() {
		if ctx.Err() != nil {
			return
		}
		if k.Store.HasStartHook(i, h) || time.Since(i.Created) < young || time.Now().Before(i.HeldUntil) ||
			i.Status != webspace.Stopped && i.Status != webspace.Running {
			continue
		}
		switch changed, err := k.Store.SetStartHook(ctx, i.Name, h); {
		case err != nil && !errors.Is(err, webspace.ErrNotFound):
			k.Log.Debug("the start hook of a webspace is not written yet", "webspace", i.Name, "err", err)
		case changed:
			k.Log.Info("start hook", "webspace", i.Name, "ours", h != webspace.StartHook{})
		}
	}
}

// hook is the one to use; the zero value is LXD's own, and the error says why, if it was asked for.
func (k *Keeper) hook(ctx context.Context) (webspace.StartHook, error) {
	if !k.Call && !k.Veth {
		return webspace.StartHook{}, nil
	}
	server, err := k.Store.Server(ctx)
	if err != nil {
		return webspace.StartHook{}, err
	}
	not := func(cause, next string) (webspace.StartHook, error) {
		return webspace.StartHook{}, &webspace.Problem{What: "the start hook is not used", Cause: cause, Next: next, Kind: webspace.ErrInvalid}
	}
	switch {
	case !versions[server.Version]:
		return not("nobody has compared it with that of LXD "+server.Version, off)
	case server.ShiftFS && k.Call:
		return not("this LXD has start hooks of its own, for shiftfs", off)
	case strings.HasPrefix(k.Store.Address(), "/var/snap/"):
		return not("LXD is a snap, which does not see our programs", off)
	}
	h := webspace.StartHook{Program: filepath.Join(k.dir(), Program)}
	if !executable(h.Program) {
		return not(h.Program+" is not there", "install it beside lanyardd")
	}
	for _, need := range []struct {
		wanted bool
		name   string
		paths  []string
		to     *string
	}{{k.Call, "lxd", lxdPaths, &h.LXD}, {k.Veth, "ip", ipPaths, &h.IP}} {
		if !need.wanted {
			continue
		}
		at := slices.IndexFunc(need.paths, executable)
		if at < 0 {
			return not("there is no "+need.name+" in "+strings.Join(need.paths, ", ")+" to fall back on", off)
		}
		*need.to = need.paths[at]
	}
	if !k.Store.Hookable(h) {
		return not("LXD is not reached by its own unix.socket, or a path has characters that a shell reads", off)
	}
	return h, nil
}

func (k *Keeper) dir() string {
	if k.Dir != "" {
		return k.Dir
	}
	self, err := os.Executable()
	if err != nil {
		return "/usr/bin"
	}
	return filepath.Dir(self)
}

func executable(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

// say logs why the hook is not used, once.
func (k *Keeper) say(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil && (k.said == nil || k.said.Error() != err.Error()) {
		k.Log.Warn("webspaces start with LXD's own start hook", "err", err)
	}
	k.said = err
}

// Problem is why the hook is not used although it was asked for, or nil.
func (k *Keeper) Problem() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.said
}
