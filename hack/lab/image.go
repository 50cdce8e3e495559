package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Tiny is the alias of the image that most tests use: busybox, and hack/lab/probe as its init and its tools.
const Tiny = "tiny"

// udhcpcScript sets what a lease says, as a distribution's script does: address, MTU (option 26), router, DNS.
const udhcpcScript = `#!/bin/sh
env | sort > /run/lease.$1
case "$1" in
deconfig) ip addr flush dev $interface; ip link set $interface up ;;
bound|renew)
	[ -z "$mtu" ] || ip link set $interface mtu $mtu
	ip addr replace $ip/$mask dev $interface valid_lft $lease preferred_lft $lease
	[ -z "$router" ] || ip route replace default via ${router%% *}
	: > /etc/resolv.conf
	[ -z "$domain" ] || echo "search $domain" >> /etc/resolv.conf
	for d in $dns; do echo "nameserver $d" >> /etc/resolv.conf; done ;;
esac
`

// BuildTiny writes the tiny image as one tar file (LXD's "unified" form: metadata.yaml and rootfs/).
func BuildTiny(ctx context.Context, file, probe string) error {
	const busybox = "/bin/busybox"
	applets, err := exec.CommandContext(ctx, busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("list the applets of %s: %w; likely cause: busybox-static is not installed; next: hack/install.sh test", busybox, err)
	}
	if err := static(busybox); err != nil {
		return err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	var problem error
	add := func(name string, mode int64, kind byte, content []byte, link string) {
		h := &tar.Header{Name: name, Mode: mode, Typeflag: kind, Size: int64(len(content)), Linkname: link, ModTime: time.Unix(1, 0)}
		if err := w.WriteHeader(h); err != nil && problem == nil {
			problem = err
		}
		if _, err := w.Write(content); err != nil && problem == nil {
			problem = err
		}
	}
	text := func(name string, mode int64, content string) {
		add("rootfs/"+name, mode, tar.TypeReg, []byte(content), "")
	}
	add("metadata.yaml", 0o644, tar.TypeReg, []byte(fmt.Sprintf(`architecture: %s
creation_date: 1
properties: {os: busybox, description: tiny webspace of the lab}
templates: {/etc/hostname: {when: [create, copy], template: hostname.tpl}}
`, machine())), "")
	add("templates/hostname.tpl", 0o644, tar.TypeReg, []byte("{{ container.name }}\n"), "")
	for _, d := range []string{"", "bin", "sbin", "etc", "proc", "sys", "dev", "run", "tmp", "root", "var", "usr", "usr/bin", "usr/sbin"} {
		add("rootfs/"+d, 0o755, tar.TypeDir, nil, "")
	}
	for name, from := range map[string]string{"bin/busybox": busybox, "bin/probe": probe} {
		content, err := os.ReadFile(from)
		if err != nil {
			return fmt.Errorf("build the tiny image: %w; next: make build", err)
		}
		add("rootfs/"+name, 0o755, tar.TypeReg, content, "")
	}
	for _, a := range strings.Fields(string(applets)) {
		if a != "busybox" {
			add("rootfs/bin/"+a, 0o777, tar.TypeSymlink, nil, "busybox")
		}
	}
	add("rootfs/sbin/init", 0o777, tar.TypeSymlink, nil, "/bin/probe")
	text("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n")
	text("etc/shadow", 0o600, "root:*:1:0:99999:7:::\n")
	text("etc/group", 0o644, "root:x:0:\n")
	text("etc/hostname", 0o644, "webspace\n")
	text("etc/udhcpc.script", 0o755, udhcpcScript)
	if problem == nil {
		problem = w.Close()
	}
	if problem != nil {
		return fmt.Errorf("build the tiny image: %w", problem)
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// static makes sure that a program runs without libraries: in the image there are none. Debian's busybox, where it has
// taken the place of busybox-static, would leave a webspace without any command, and so without an address.
func static(name string) error {
	f, err := elf.Open(name)
	if err != nil {
		return fmt.Errorf("build the tiny image: %w", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("build the tiny image: %s needs libraries; likely cause: the package busybox is installed and not busybox-static; "+
				"next: hack/install.sh test", name)
		}
	}
	return nil
}

// machine is the architecture as LXD names it.
func machine() string {
	out, err := exec.Command("uname", "-m").Output()
	if err != nil {
		return "x86_64"
	}
	return strings.TrimSpace(string(out))
}

// ImportTiny builds the tiny image and gives it to the cluster.
func (l *Lab) ImportTiny(ctx context.Context) error {
	file := filepath.Join(l.Dir, "tiny.tar")
	if err := BuildTiny(ctx, file, filepath.Join(l.binDir, "probe")); err != nil {
		return err
	}
	return l.ImportImage(ctx, file, Tiny)
}

// ImportImage gives an image file (unified tar) to the cluster under an alias.
func (l *Lab) ImportImage(ctx context.Context, file, alias string) error {
	start := time.Now()
	if _, err := l.Node(1).LXC(ctx, "image", "import", "-q", file, "--alias", alias); err != nil {
		return fmt.Errorf("import image %s: %w", alias, err)
	}
	l.log.Info("image", "alias", alias, "took", time.Since(start).Round(time.Millisecond))
	return nil
}
