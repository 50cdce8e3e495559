package webspace

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// StartHook is a program that LXC calls in the place of `lxd callhook ... start`, with the same arguments. Where the program is
// missing LXD's own is called after all: a webspace never depends on it.
type StartHook struct {
	Program string // path
	LXD     string // path of LXD's own
}

// hookMark begins the key raw.lxc of an instance whose start hook is ours. Any other raw.lxc is the admin's, and left alone.
const hookMark = "# by lanyardd, see wake.start_hook\n"

// rawLXCKey of an instance's configuration.
const rawLXCKey = "raw.lxc"

var (
	plainPath = regexp.MustCompile(`^/[A-Za-z0-9._/-]+$`)
	plainName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)
)

// RawLXC is the configuration for LXC that gives a webspace this start hook, or "" when there can be none. LXC passes the line
// to a shell, behind "exec".
func (s *Store) RawLXC(name string, h StartHook) string {
	dir := filepath.Dir(s.socket)
	if s.socket == "" || filepath.Base(s.socket) != "unix.socket" || h == (StartHook{}) {
		return ""
	}
	for _, p := range []string{dir, h.Program, h.LXD} {
		if !plainPath.MatchString(p) {
			return ""
		}
	}
	if !plainName.MatchString(s.o.Project) || !plainName.MatchString(name) {
		return ""
	}
	return hookMark + "lxc.hook.pre-start =\n" +
		fmt.Sprintf("lxc.hook.pre-start = $(test -x %s && echo %s || echo %s) callhook %s %q %q start\n", h.Program, h.Program, h.LXD, dir, s.o.Project, name)
}

// OwnHook says whether an instance's raw.lxc is ours to change: it is empty, or has been written by SetStartHook.
func (i Instance) OwnHook() bool { return i.RawLXC == "" || strings.HasPrefix(i.RawLXC, hookMark) }

// SetStartHook gives a webspace a start hook from its next start on; the zero value gives it LXD's own again. It says whether
// there was anything to change.
func (s *Store) SetStartHook(ctx context.Context, name string, h StartHook) (changed bool, err error) {
	want := s.RawLXC(name, h)
	err = s.edit(ctx, name, func(i *Instance) (patch, error) {
		changed = i.OwnHook() && i.RawLXC != want
		if !changed {
			return patch{}, nil
		}
		return patch{Config: map[string]string{rawLXCKey: want}}, nil
	})
	return changed && err == nil, err
}
