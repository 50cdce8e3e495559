package webspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Limits of what an account may bring along.
const (
	maxPassword = 512 // bytes: what PAM passes on (PAM_MAX_RESP_SIZE)
	maxKeys     = 64
	maxKeyLine  = 16 << 10
)

// checkKeys brings public keys into one form each: type, key, comment. Options and several keys in one are refused:
// an account's key is a key, and not a way to write into a file of root's.
func checkKeys(keys []string) ([]string, error) {
	var out []string
	bad := func(cause string) ([]string, error) {
		return nil, &Problem{What: "an SSH public key cannot be used", Cause: cause, Next: "put the line of one file such as ~/.ssh/id_ed25519.pub into your account", Kind: ErrNoSSHKey}
	}
	if len(keys) > maxKeys {
		return bad(fmt.Sprintf("there are more than %d", maxKeys))
	}
	for _, text := range keys {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if len(text) > maxKeyLine {
			return bad("it is too long")
		}
		key, comment, options, rest, err := ssh.ParseAuthorizedKey([]byte(text))
		switch {
		case err != nil:
			return bad("it is not in the form of authorized_keys")
		case len(options) > 0 || len(bytes.TrimSpace(rest)) > 0:
			return bad("it has options, or more than one line")
		}
		line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
		if comment = strings.TrimSpace(printable(comment)); comment != "" {
			line += " " + comment
		}
		out = append(out, line)
	}
	return out, nil
}

// printable leaves out what could end a line or confuse a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' || r == 0xfffd {
			return -1
		}
		return r
	}, s)
}

// packageManager knows how to install an SSH server.
type packageManager struct {
	program string     // looked for in the usual folders
	steps   [][]string // arguments of each run
	service string     // of the server
}

// packageManagers, the more particular first: some distributions have a second one for compatibility.
var packageManagers = []packageManager{
	{"apk", [][]string{{"add", "--no-cache", "openssh-server"}}, "sshd"},
	{"pacman", [][]string{{"-Sy", "--noconfirm", "--needed", "openssh"}}, "sshd"},
	{"zypper", [][]string{{"--non-interactive", "install", "openssh-server"}}, "sshd"},
	{"xbps-install", [][]string{{"-Sy", "openssh"}}, "sshd"},
	{"apt-get", [][]string{{"update"}, {"install", "-y", "--no-install-recommends", "openssh-server"}}, "ssh"},
	{"dnf", [][]string{{"-y", "install", "openssh-server"}}, "sshd"},
	{"yum", [][]string{{"-y", "install", "openssh-server"}}, "sshd"},
}

// sshServers are the programs of which one is enough.
var sshServers = []string{"sshd", "dropbear"}

var programFolders = []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"}

// server makes sure that the webspace has an SSH server; running says that it was started for it.
func (b *build) server(ctx context.Context, i Instance) (running bool, err error) {
	s := b.s
	files, err := s.store.files(ctx, i.Name)
	if err != nil {
		return false, err
	}
	defer files.close()
	has, err := files.find(sshServers...)
	if err != nil || has != "" {
		return false, err
	}
	var manager packageManager
	program := ""
	for _, m := range packageManagers {
		if program, err = files.find(m.program); err != nil {
			return false, err
		}
		if manager = m; program != "" {
			break
		}
	}
	if program == "" {
		// As the seed system has it: everything else is there, and whoever made the image knows how to add a server.
		s.log.Warn("a webspace was made without the SSH server that was asked for", "webspace", i.Name, "image", b.spec.Image)
		b.tell.say("note", "its image has no SSH server, and no known package manager to install one; your key and a port await one that you install: lanyard ws login", -1)
		return false, nil
	}
	files.close() // the folder tree that it sees is that of before the start
	b.tell.say("start", "starting it, to install an SSH server", -1)
	if err := s.start(ctx, i); err != nil {
		return true, err
	}
	b.tell.say("network", "waiting for its address", -1)
	if err := b.network(ctx, i); err != nil {
		return true, err
	}
	b.tell.say("ssh", "installing an SSH server", -1)
	for _, args := range manager.steps {
		if err := b.command(ctx, i, append([]string{program}, args...)); err != nil {
			return true, err
		}
	}
	return true, b.enable(ctx, i, manager.service)
}

// enable makes the server start with the webspace, where installing it has not done that already.
func (b *build) enable(ctx context.Context, i Instance, service string) error {
	files, err := b.s.store.files(ctx, i.Name)
	if err != nil {
		return err
	}
	defer files.close()
	has, err := files.find(sshServers...)
	if err != nil {
		return err
	}
	if has == "" {
		return &Problem{What: "could not set up SSH in webspace " + i.Name, Cause: "its package manager has installed no SSH server", Next: "choose another image, or create without SSH"}
	}
	for _, init := range []struct {
		program string
		args    []string
	}{{"systemctl", []string{"enable", service}}, {"rc-update", []string{"add", service, "default"}}} {
		program, err := files.find(init.program)
		if err != nil {
			return err
		}
		if program != "" {
			return b.command(ctx, i, append([]string{program}, init.args...))
		}
	}
	if _, err := files.c.Lstat("/etc/sv/" + service); err == nil { // runit
		err := files.c.Symlink("/etc/sv/"+service, "/var/service/"+service)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return files.failed("enable SSH", err)
		}
	}
	return nil
}

// command runs one command that must succeed.
func (b *build) command(ctx context.Context, i Instance, argv []string) error {
	ctx, cancel := context.WithTimeout(ctx, b.s.o.SetupCommand)
	defer cancel()
	var stdout, stderr limited
	code, err := b.s.store.Session(ctx, i.Name, ExecSpec{
		Command: argv, Environment: map[string]string{"DEBIAN_FRONTEND": "noninteractive", "PATH": strings.Join(programFolders, ":"), "LC_ALL": "C"},
	}, Streams{Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		return err
	}
	if code != 0 {
		said := bytes.TrimSpace(append(stdout.Bytes(), stderr.Bytes()...))
		return &Problem{
			What: fmt.Sprintf("could not set up SSH in webspace %s", i.Name), Cause: fmt.Sprintf("%s ended with code %d: %q", argv[0], code, said[max(0, len(said)-300):]),
			Next: "see whether webspaces reach the Internet, choose another image, or create without SSH",
		}
	}
	return nil
}

// network waits until the webspace has an address.
func (b *build) network(ctx context.Context, i Instance) error {
	ctx, cancel := context.WithTimeout(ctx, b.s.o.AddressWait)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		st, err := b.s.store.State(ctx, i.Name)
		if err == nil && st.global() {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return &Problem{What: "could not set up SSH in webspace " + i.Name, Cause: "it gets no address, and so cannot install anything",
				Next: "see whether the image asks for one by DHCP: lanyard ws log", Kind: ErrNoAddress, Err: err}
		}
	}
}

// addKeys adds lines to root's authorized_keys, and keeps what the image has there.
func (s *Store) addKeys(ctx context.Context, name string, keys []string) error {
	f, err := s.files(ctx, name)
	if err != nil {
		return err
	}
	defer f.close()
	const folder, file = "/root/.ssh", "/root/.ssh/authorized_keys"
	if err := f.c.MkdirAll(folder); err != nil {
		return f.failed("make "+folder, err)
	}
	if err := errors.Join(f.c.Chmod(folder, 0o700), f.c.Chown(folder, 0, 0)); err != nil {
		return f.failed("make "+folder, err)
	}
	old, _, err := f.read(file, 1<<20)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text := strings.TrimRight(string(old), "\n")
	for _, key := range keys {
		text += "\n" + key
	}
	return f.write(file, FileInfo{Mode: 0o600}, strings.NewReader(strings.TrimLeft(text, "\n")+"\n"))
}
