package webspace

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// StartHook is what LXC runs while a container starts, in the place of slower things that LXD does by itself. Where the program
// is missing the slower ones are done after all: a webspace never depends on it.
type StartHook struct {
	Program string // path of lanyard-hook; "": nothing is changed
	LXD     string // path of lxd. With it the program tells LXD of the start, where else `lxd callhook ... start` does
	IP      string // path of ip. With it the program makes the network interface, where else LXD does by some eight programs
}

// HookNIC is the Instance.NICType of a webspace whose network interface is made by the start hook: LXD knows of none (its eth0
// is of type "none", so that a profile's does not come in).
const HookNIC = "lanyard-hook"

// hookMark begins the key raw.lxc of an instance whose start hook is ours. Any other raw.lxc is the admin's, and left alone.
const hookMark = "# by lanyardd, see wake.start_hook\n"

// rawLXCKey of an instance's configuration.
const rawLXCKey = "raw.lxc"

// defaultMTU is what LXD gives a NIC that names none.
const defaultMTU = 1500

var (
	plainPath = regexp.MustCompile(`^/[A-Za-z0-9._/-]+$`)
	plainName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)
	vethLine  = regexp.MustCompile(`(?m)^lxc\.hook\.start-host = .* = (\S+) && echo (ly[0-9a-f]{8}) .* address ([0-9a-f:]{17}) mtu (\d+) netns .*\n`)
)

// HostVeth names the host side of an interface that the start hook makes, from the webspace's address.
func HostVeth(address netip.Addr) string {
	b := address.As4()
	return "ly" + hex.EncodeToString(b[:])
}

// rawLXC is the configuration for LXC that gives an instance this start hook, or "" when there can be none; and its eth0, when
// that has to change as well. The interface of a running container stays as it is.
func (s *Store) rawLXC(i Instance, h StartHook) (text string, eth0 map[string]string) {
	if !s.Hookable(h) || !plainName.MatchString(i.Name) {
		h = StartHook{}
	}
	if h.LXD != "" {
		// LXC passes the line to a shell, behind "exec". The name is LXC's: a copy of the instance has its own.
		name := `"$LXC_NAME"`
		if s.o.Project != "default" {
			name = `"${LXC_NAME#` + s.o.Project + `_}"`
		}
		text = "lxc.hook.pre-start =\n" + fmt.Sprintf("lxc.hook.pre-start = $(test -x %s && echo %s || echo %s) callhook %s %q %s start\n",
			h.Program, h.Program, h.LXD, filepath.Dir(s.socket), s.o.Project, name)
	}
	switch {
	case i.Status != Stopped:
		text += i.veth
	case h.IP != "" && i.takesHookNIC():
		text += s.veth(i, h)
		if i.NICType != HookNIC {
			eth0 = map[string]string{"type": "none"}
		}
	case i.NICType == HookNIC:
		eth0 = nic(i.MAC, i.MTU)
	}
	if text != "" {
		text = hookMark + text
	}
	return text, eth0
}

// veth is the line that has an interface made. The program takes the arguments of `ip link add`, which is called in its place
// where it is missing, and leaves it to the container to set eth0 up. A copy of the instance gets one of another name, which nobody takes for the webspace's.
func (s *Store) veth(i Instance, h StartHook) string {
	name, mtu := s.lxcName(i.Name), i.MTU
	if mtu == 0 {
		mtu = defaultMTU
	}
	return fmt.Sprintf("lxc.hook.start-host = $(test -x %s && echo %s veth || echo %s link add) $(test \"$LXC_NAME\" = %s && echo %s || echo ly$LXC_PID)"+
		" mtu %d up type veth peer name eth0 address %s mtu %d netns $LXC_PID\n", h.Program, h.Program, h.IP, name, HostVeth(i.Record.Address), mtu, i.MAC, mtu)
}

// takesHookNIC says whether the hook can make this instance's interface: one that is like those that Lanyard gives.
func (i Instance) takesHookNIC() bool {
	return i.RecordErr == nil && i.Record.Address.Is4() && i.MAC != nil && (i.NICType == HookNIC || i.NICType == "p2p" && i.plainNIC)
}

// lxcName is LXC's name for an instance.
func (s *Store) lxcName(name string) string {
	if s.o.Project != "default" {
		return s.o.Project + "_" + name
	}
	return name
}

// readVeth finds out whether the start hook makes the instance's interface, and which that is: of a copy it is none that the
// original has.
func (s *Store) readVeth(i *Instance, eth0 map[string]string) {
	m := vethLine.FindStringSubmatch(i.RawLXC)
	if m == nil || !i.OwnHook() {
		return
	}
	i.veth = m[0]
	if eth0["type"] == "none" {
		i.NICType, i.MAC = HookNIC, parseMAC(m[3])
		i.MTU, _ = strconv.Atoi(m[4]) // of digits
		if m[1] == s.lxcName(i.Name) {
			i.HostInterface = m[2]
		}
	}
}

// Hookable says whether a start hook can be written for LXC at all: LXD is reached by its own socket, and no name has a
// character that a shell reads.
func (s *Store) Hookable(h StartHook) bool {
	ok := h.Program != "" && filepath.Base(s.socket) == "unix.socket" && plainName.MatchString(s.o.Project)
	for _, p := range []string{filepath.Dir(s.socket), h.Program, h.LXD, h.IP} {
		ok = ok && (p == "" || plainPath.MatchString(p))
	}
	return ok
}

// OwnHook says whether an instance's raw.lxc is ours to change: it is empty, or has been written by SetStartHook.
func (i Instance) OwnHook() bool { return i.RawLXC == "" || strings.HasPrefix(i.RawLXC, hookMark) }

// HasStartHook says whether SetStartHook would change nothing.
func (s *Store) HasStartHook(i Instance, h StartHook) bool {
	text, eth0 := s.rawLXC(i, h)
	return !i.OwnHook() || text == i.RawLXC && eth0 == nil
}

// SetStartHook gives a webspace a start hook from its next start on; the zero value has LXD do everything again. It says whether
// there was anything to change. LXD refuses the change of an instance that it is just starting.
func (s *Store) SetStartHook(ctx context.Context, name string, h StartHook) (changed bool, err error) {
	err = s.edit(ctx, name, func(i *Instance) (patch, error) {
		if changed = !s.HasStartHook(*i, h); !changed {
			return patch{}, nil
		}
		text, eth0 := s.rawLXC(*i, h)
		p := patch{Config: map[string]string{rawLXCKey: text}}
		if eth0 != nil {
			p.Devices = map[string]map[string]string{"eth0": eth0}
		}
		return p, nil
	})
	return changed && err == nil, err
}
