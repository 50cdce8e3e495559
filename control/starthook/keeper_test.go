package starthook

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/webspace"
)

// lxd keeps what is written.
type lxd struct {
	*webspace.Store
	server webspace.Server
	down   error
	list   []webspace.Instance
	writes int
}

func (l *lxd) Server(context.Context) (webspace.Server, error) { return l.server, l.down }

func (l *lxd) SetStartHook(_ context.Context, name string, h webspace.StartHook) (bool, error) {
	for n := range l.list {
		if l.list[n].Name == name {
			l.list[n].RawLXC = ""
			if h != (webspace.StartHook{}) {
				l.list[n].RawLXC = mark + h.Program + h.LXD + h.IP
			}
			l.writes++
		}
	}
	return true, nil
}

func (l *lxd) HasStartHook(i webspace.Instance, h webspace.StartHook) bool {
	return !i.OwnHook() || i.RawLXC == "" && h == (webspace.StartHook{}) || i.RawLXC == mark+h.Program+h.LXD+h.IP
}

const mark = "# by lanyardd, see wake.start_hook\n"

func TestHooksComeAndGo(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, Program)
	write := func() {
		if err := os.WriteFile(program, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write()
	oldLXD, oldIP := lxdPaths, ipPaths
	lxdPaths, ipPaths = []string{program}, []string{program}
	defer func() { lxdPaths, ipPaths = oldLXD, oldIP }()

	store, err := webspace.Connect(webspace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := &lxd{Store: store, server: webspace.Server{Version: "5.0.2"}, list: []webspace.Instance{
		{Name: "ws-u1", Status: webspace.Stopped},
		{Name: "ws-u2", Status: webspace.Running},
		{Name: "ws-u3", Status: webspace.Stopped, RawLXC: "lxc.apparmor.profile = unconfined"},
		{Name: "ws-u4", Status: webspace.Stopped, Created: time.Now().Add(time.Hour)},
		{Name: "ws-u5", Status: webspace.Stopped, HeldUntil: time.Now().Add(time.Hour)},
		{Name: "ws-u6", Status: "Starting"},
	}}
	k := &Keeper{Call: true, Veth: true, Store: l, Local: func() []webspace.Instance { return l.list }, Log: slog.New(slog.DiscardHandler), Dir: dir}
	hooked := func() string {
		k.pass(t.Context())
		var names []string
		for _, i := range l.list {
			if strings.Contains(i.RawLXC, program) {
				names = append(names, i.Name)
			}
		}
		return strings.Join(names, " ")
	}
	if got := hooked(); got != "ws-u1 ws-u2" || l.writes != 2 {
		t.Fatalf("%q have it, %d writes", got, l.writes)
	}
	if got := hooked(); l.writes != 2 {
		t.Fatalf("%q have it, and %d writes: it writes again and again", got, l.writes)
	}
	l.down = &webspace.Problem{Kind: webspace.ErrUnavailable}
	if got := hooked(); got != "ws-u1 ws-u2" || k.Problem() != nil {
		t.Errorf("LXD away: %q, %v", got, k.Problem())
	}
	l.down = nil
	for name, c := range map[string]struct{ break_, repair func() }{
		"another version": {func() { l.server.Version = "5.0.3" }, func() { l.server.Version = "5.0.2" }},
		"shiftfs":         {func() { l.server.ShiftFS = true }, func() { l.server.ShiftFS = false }},
		"no program":      {func() { os.Remove(program) }, write},
		"no lxd":          {func() { lxdPaths = nil }, func() { lxdPaths = []string{program} }},
		"no ip":           {func() { ipPaths = nil }, func() { ipPaths = []string{program} }},
	} {
		c.break_()
		if got := hooked(); got != "" || k.Problem() == nil {
			t.Errorf("%s: %q have it, %v", name, got, k.Problem())
		}
		c.repair()
		if got := hooked(); got != "ws-u1 ws-u2" || k.Problem() != nil {
			t.Errorf("after %s: %q have it, %v", name, got, k.Problem())
		}
	}
	k.Call = false
	if got := hooked(); got != "ws-u1 ws-u2" || strings.Count(l.list[0].RawLXC, program) != 2 || k.Problem() != nil {
		t.Errorf("only the interface: %q have it, %q, %v", got, l.list[0].RawLXC, k.Problem())
	}
	k.Veth = false
	if got := hooked(); got != "" || k.Problem() != nil {
		t.Errorf("off: %q have it, %v", got, k.Problem())
	}
	if l.list[2].RawLXC != "lxc.apparmor.profile = unconfined" {
		t.Errorf("the admin's own: %q", l.list[2].RawLXC)
	}
}
