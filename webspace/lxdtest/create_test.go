package lxdtest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
	"github.com/lanyard-project/lanyard/webspace/faults"
)

// hostile is a password that a shell, a shadow file or a pipe could trip over.
const hostile = `a"; touch /pwned; $(id) '`

func passwords(t *testing.T, s *webspace.Service, _ *lab.Node) {
	const uid = 330
	i := create(t, s, webspace.CreateSpec{UID: uid, Password: hostile + "\n"})
	if i.Status != webspace.Stopped {
		t.Errorf("it is %s after its creation", i.Status)
	}
	login := func(password string) string {
		x := begin(t, func(ctx context.Context, io webspace.Streams) (int, error) {
			return s.Exec(ctx, uid, webspace.ExecSpec{Command: []string{"login", "root"}, Terminal: true, Width: 80, Height: 24}, io)
		})
		x.out.shows(t, "Password:")
		x.type_(t, password+"\n")
		var result string
		eventually(t, "an answer of login", func() error {
			for _, sign := range []string{"incorrect", "# "} {
				if strings.Contains(x.out.String(), sign) {
					result = sign
					return nil
				}
			}
			return fmt.Errorf("it says %q", x.out.String())
		})
		if result == "# " {
			x.type_(t, "id -u > /tmp/who; exit\n")
			_, _ = x.wait(t)
			return output(t, s, uid, "cat", "/tmp/who")
		}
		x.end()
		_, _ = x.wait(t)
		return result
	}
	if got := login(hostile); got != "0\n" {
		t.Errorf("the password: %q", got)
	}
	if got := login("a"); got != "incorrect" {
		t.Errorf("another password: %q", got)
	}
	if got := output(t, s, uid, "ls", "/"); strings.Contains(got, "pwned") {
		t.Error("the password was run")
	}
	if got := output(t, s, uid, "stat", "-c", "%a %u %g", "/etc/shadow"); got != "600 0 0\n" {
		t.Errorf("shadow: %q", got)
	}
	if got := output(t, s, uid, "ls", "-a", "/etc"); strings.Contains(got, ".lanyard") {
		t.Errorf("left in /etc: %q", got)
	}
}

// image makes the tiny image with more files, under an alias. A name that ends in / is a folder.
func image(t *testing.T, s *webspace.Service, n *lab.Node, alias string, more map[string]string, without ...string) {
	t.Helper()
	old, err := os.ReadFile(filepath.Join(filepath.Dir(n.Dir), "tiny.tar"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h *tar.Header, r io.Reader) {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	for r := tar.NewReader(bytes.NewReader(old)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(without, h.Name) {
			add(h, r)
		}
	}
	for name, text := range more {
		add(&tar.Header{Name: "rootfs" + name, Mode: 0o755, Size: int64(len(text)), ModTime: time.Unix(1, 0)}, strings.NewReader(text))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	print, err := s.Store().ImportImage(t.Context(), &b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.LXC(t.Context(), "image", "alias", "create", alias, print); err != nil {
		t.Fatal(err)
	}
}

// installer stands in for a package manager: it notes how it is called, and the last call leaves a server.
const installer = `#!/bin/sh
echo "${0##*/} $* [$DEBIAN_FRONTEND]" >> /root/calls
case " $* " in *" openssh"*) printf '#!/bin/sh\n' > /usr/sbin/sshd ;; esac
`

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl alice@example.com"

func secureShell(t *testing.T, s *webspace.Service, n *lab.Node) {
	init := "#!/bin/sh\necho \"${0##*/} $*\" >> /root/calls\n"
	image(t, s, n, "apt", map[string]string{"/usr/bin/apt-get": installer, "/usr/bin/systemctl": init})
	image(t, s, n, "apk", map[string]string{"/sbin/apk": installer, "/sbin/rc-update": init})
	image(t, s, n, "broken", map[string]string{"/usr/bin/dnf": "#!/bin/sh\necho no network >&2\nexit 4\n"})
	image(t, s, n, "server", map[string]string{"/usr/sbin/sshd": "#!/bin/sh\n", "/root/.ssh/authorized_keys": "ssh-ed25519 BBBB image"})
	image(t, s, n, "bare", nil, "rootfs/etc/shadow")
	wants := map[string]string{
		"apt":    "apt-get update [noninteractive]\napt-get install -y --no-install-recommends openssh-server [noninteractive]\nsystemctl enable ssh\n",
		"apk":    "apk add --no-cache openssh-server [noninteractive]\nrc-update add sshd default\n",
		"server": "", "tiny": "", "broken": "error", "bare": "error",
	}
	var g errgroup.Group
	uid := 340
	for alias, want := range wants {
		uid++
		spec := webspace.CreateSpec{UID: uid, Image: alias, SSH: true, SSHKeys: []string{publicKey + "\n"}, Password: "secret"}
		g.Go(func() error { return installs(t, s, spec, want) })
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	for _, keys := range [][]string{nil, {"  "}, {"garbage"}, {publicKey + "\n" + publicKey}, {`command="id" ` + publicKey}} {
		if _, err := s.Create(t.Context(), webspace.CreateSpec{UID: 349, Image: Image, SSH: true, SSHKeys: keys}, nil); !errors.Is(err, webspace.ErrNoSSHKey) {
			t.Errorf("%q: %v", keys, err)
		}
	}
	for _, spec := range []webspace.CreateSpec{{UID: -1, Image: Image}, {UID: 349}, {UID: 349, Image: "a b"}, {UID: 349, Image: Image, Password: "a\nb"}} {
		if _, err := s.Create(t.Context(), spec, nil); !errors.Is(err, webspace.ErrInvalid) {
			t.Errorf("%+v: %v", spec, err)
		}
	}
	if _, err := s.Create(t.Context(), webspace.CreateSpec{UID: 349, Image: "unknown"}, nil); !errors.Is(err, webspace.ErrNotFound) {
		t.Errorf("unknown image: %v", err)
	}
	images, err := s.Images(t.Context())
	if err != nil || len(images) != 6 || images[0].Aliases[0].Name != "apk" || images[0].Size == 0 {
		t.Errorf("%+v, %v", images, err)
	}
}

func installs(t *testing.T, s *webspace.Service, spec webspace.CreateSpec, want string) error {
	ctx := t.Context()
	var stages []string
	i, err := s.Create(ctx, spec, func(p webspace.Progress) {
		stages = append(stages, p.Stage)
		if p.Stage == "network" { // nobody serves DHCP here
			name := s.Store().Name(spec.UID)
			if r, err := s.Store().Exec(ctx, name, []string{"ip", "addr", "add", "172.24.9.9/16", "dev", "eth0"}); err != nil || r.Code != 0 {
				t.Errorf("%s: no address: %v, %q", spec.Image, err, r.Stderr)
			}
		}
	})
	if want == "error" {
		if err == nil {
			return fmt.Errorf("%s: no error", spec.Image)
		}
		if _, err := s.Get(ctx, spec.UID); !errors.Is(err, webspace.ErrNotFound) {
			return fmt.Errorf("%s left something: %v", spec.Image, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", spec.Image, err)
	}
	if i.Status != webspace.Stopped || len(i.Record.Ports) != 1 {
		return fmt.Errorf("%s: %+v", spec.Image, i)
	}
	for _, internal := range i.Record.Ports {
		if internal != 22 {
			return fmt.Errorf("%s: %v", spec.Image, i.Record.Ports)
		}
	}
	read := func(name string) string {
		r, info, err := s.ReadFile(ctx, spec.UID, name)
		if errors.Is(err, webspace.ErrNotFound) {
			return ""
		}
		if err != nil {
			t.Error(err)
			return ""
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err != nil || info.UID != 0 {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
		return string(b)
	}
	if got := read("/root/calls"); got != want {
		return fmt.Errorf("%s: called %q, want %q", spec.Image, got, want)
	}
	keys := publicKey + "\n"
	if spec.Image == "server" {
		keys = "ssh-ed25519 BBBB image\n" + keys
	}
	if got := read("/root/.ssh/authorized_keys"); got != keys {
		return fmt.Errorf("%s: keys %q", spec.Image, got)
	}
	if info, err := s.Stat(ctx, spec.UID, "/root/.ssh/authorized_keys"); err != nil || info.Mode.Perm() != 0o600 {
		return fmt.Errorf("%s: keys %+v, %w", spec.Image, info, err)
	}
	if noted := slices.Contains(stages, "note"); noted != (spec.Image == "tiny") { // which cannot have a server
		return fmt.Errorf("%s: stages %v", spec.Image, stages)
	}
	if stages[0] != "create" || stages[len(stages)-1] != "done" {
		return fmt.Errorf("%s: stages %v", spec.Image, stages)
	}
	return nil
}

// steps lets each request of a creation fail, lost on the way there or back: nothing is left, and a retry succeeds.
func steps(t *testing.T, s *webspace.Service, n *lab.Node) {
	spec := webspace.CreateSpec{Image: Image, Password: "secret", SSHKeys: []string{publicKey}}
	quiet := func(o *webspace.ServiceOptions) { o.StartNew = false }
	count := faults.New(t, Socket(n))
	spec.UID = 400
	total := 0
	count.Set(func(n int, _ *http.Request) faults.Fault { total = n; return faults.None })
	if _, err := service(t, count.Socket, quiet).Create(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	if total < 5 {
		t.Fatalf("a creation is only %d requests", total)
	}
	var g errgroup.Group
	g.SetLimit(4)
	for which := 1; which <= total; which++ {
		for how, uid := range map[faults.Fault]int{faults.Lost: 400 + 2*which, faults.Unanswered: 401 + 2*which} {
			g.Go(func() error { return step(t, s, n, spec, uid, which, how) })
		}
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func step(t *testing.T, s *webspace.Service, n *lab.Node, spec webspace.CreateSpec, uid, which int, how faults.Fault) error {
	ctx := t.Context()
	p := faults.New(t, Socket(n))
	p.Set(faults.Nth(which, how))
	through := service(t, p.Socket, nil)
	spec.UID = uid
	where := fmt.Sprintf("request %d (%d)", which, how)
	_, err := through.Create(ctx, spec, nil)
	if err == nil {
		return nil // an answer that was not needed
	}
	if out, look := n.LXC(ctx, "list", "-c", "n", "-f", "csv", "^"+s.Store().Name(uid)+"$"); look != nil || strings.TrimSpace(out) != "" {
		return fmt.Errorf("%s: %w; left %q, %v", where, err, out, look)
	}
	if _, err := through.Create(ctx, spec, nil); err != nil {
		return fmt.Errorf("%s: a retry: %w", where, err)
	}
	return s.Delete(ctx, uid)
}

// crowd creates many at once, and gives each a port: no two have the same address or port.
func crowd(t *testing.T, s *webspace.Service, _ *lab.Node) {
	const count = 24
	var mu sync.Mutex
	seen := map[string]int{}
	var g errgroup.Group
	for k := range count {
		g.Go(func() error {
			i, err := s.Create(t.Context(), webspace.CreateSpec{UID: 500 + k, Image: Image}, nil)
			if err != nil {
				return err
			}
			port, err := s.AddPort(t.Context(), i.UID, webspace.TCP, 0, 80)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, key := range []string{i.Record.Address.String(), fmt.Sprint(port)} {
				if other, dup := seen[key]; dup {
					return fmt.Errorf("%d and %d both have %s", other, i.UID, key)
				}
				seen[key] = i.UID
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	all, err := s.List(t.Context())
	if err != nil {
		t.Error(err)
	}
	_, issues := webspace.Settle(all)
	for _, issue := range issues {
		if errors.Is(issue.Err, webspace.ErrConflict) { // other tests leave broken records here, which are no conflicts
			t.Error(issue)
		}
	}
	for k := range count {
		g.Go(func() error { return s.Delete(t.Context(), 500+k) })
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}
