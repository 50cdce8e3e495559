package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Node is a machine of the lab that runs LXD and lanyardd.
type Node struct {
	*Namespace
	Index int // from 1
	lab   *Lab
}

// Addr is the node's address on the underlay.
func (n *Node) Addr() string { return fmt.Sprintf("192.0.2.%d", n.Index) }

// LANAddr is the node's own address on the LAN of webspaces.
func (n *Node) LANAddr() string { return fmt.Sprintf("172.24.0.%d", n.Index) }

// Cgroup is the name of its group, in each hierarchy of this machine.
func (n *Node) Cgroup() string { return cgroupPrefix(n.lab.ID) + n.Name }

func (l *Lab) newNode(ctx context.Context, index int) (*Node, error) {
	name := "n" + strconv.Itoa(index)
	cgroup := cgroupPrefix(l.ID) + name
	if err := makeCgroups(cgroup); err != nil {
		return nil, err
	}
	ns, err := l.hold(ctx, "node", name, cgroup)
	if err != nil {
		return nil, err
	}
	n := &Node{Namespace: ns, Index: index, lab: l}
	if err := l.join(ctx, ns, n.Addr()); err != nil {
		return n, err
	}
	for key, value := range map[string]string{
		"net.ipv4.ip_forward":              "1",
		"net.ipv4.ip_local_reserved_ports": "49152-65535", // forwards, as `lanyard check` advises
	} {
		if err := n.Sysctl(ctx, key, value); err != nil {
			return n, err
		}
	}
	if !l.noLXD {
		return n, n.StartLXD(ctx)
	}
	return n, nil
}

// daemon starts a long-lived program in the node's cgroups; its process id goes to /run/NAME.pid inside, and its output to
// NAME.log in the node's folder. It outlives the caller as long as its node lives.
func (n *Node) daemon(ctx context.Context, name string, args ...string) error {
	// The file of an earlier one would speak for this one until it has started.
	if _, err := n.Exec(ctx, "rm", "-f", "/run/"+name+".pid"); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(n.Dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	const script = `name=$1; shift
if [ -d /sys/fs/cgroup/daemons ]; then echo 0 > /sys/fs/cgroup/daemons/cgroup.procs
else for h in /sys/fs/cgroup/*/; do echo 0 > $h/cgroup.procs; done; fi
echo $$ > /run/$name.pid
exec "$@"`
	cmd := n.Command(context.Background(), append([]string{"/bin/sh", "-c", script, "sh", name}, args...)...)
	cmd.Cancel, cmd.WaitDelay = nil, 0
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: start %s: %w", n.Name, name, err)
	}
	go func() { _ = cmd.Wait() }() // ends with the daemon, at the latest with the node
	return nil
}

// signal sends a signal (a name as kill(1) takes it) to a daemon of the node, and waits for its end if wait is not zero.
func (n *Node) signal(ctx context.Context, name, sig string, wait time.Duration) error {
	pid, err := n.daemonPid(ctx, name)
	if err != nil {
		return err
	}
	if _, err := n.Exec(ctx, "kill", "-"+sig, pid); err != nil {
		return err
	}
	if wait == 0 {
		return nil
	}
	return poll(ctx, wait, func() error {
		if _, err := n.Exec(ctx, "test", "-e", "/proc/"+pid); err == nil {
			return fmt.Errorf("%s: %s (pid %s there) still runs after SIG%s", n.Name, name, pid, sig)
		}
		return nil
	})
}

// daemonPid is the daemon's process id inside the node.
func (n *Node) daemonPid(ctx context.Context, name string) (string, error) {
	out, err := n.Exec(ctx, "cat", "/run/"+name+".pid")
	if err != nil {
		return "", fmt.Errorf("%s: %s was never started here: %w", n.Name, name, err)
	}
	return strings.TrimSpace(out), nil
}

// running says whether the daemon of that name lives.
func (n *Node) running(ctx context.Context, name string) bool {
	pid, err := n.daemonPid(ctx, name)
	return err == nil && n.alive(ctx, pid)
}

func (n *Node) alive(ctx context.Context, pid string) bool {
	_, err := n.Exec(ctx, "kill", "-0", pid)
	return err == nil
}

// LogTail is the end of a daemon's output, for messages.
func (n *Node) LogTail(name string) string {
	b, err := os.ReadFile(filepath.Join(n.Dir, name+".log"))
	if err != nil {
		return ""
	}
	const most = 2000
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return strings.TrimSpace(string(b))
}
