package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lanyard-project/lanyard/control/check"
)

// ConfigFile is lanyardd's configuration on this node.
func (n *Node) ConfigFile() string { return filepath.Join(n.Dir, "lanyardd.yaml") }

// writeConfig leaves everything at its default but what makes this node this node. extra is further YAML.
func (n *Node) writeConfig(extra string) error {
	peers := "static"
	if len(n.lab.nodes) > 1 && !n.lab.noLXD {
		peers = "lxd"
	}
	var foreign []string
	for _, f := range n.lab.foreign {
		foreign = append(foreign, fmt.Sprintf("{vtep: %s, foreign: true}", f))
	}
	state := filepath.Join(n.Dir, "state")
	text := fmt.Sprintf("node: {name: %s, index: %d}\npeers: {from: %s, list: [%s]}\npaths: {state: %s}\n",
		n.Name, n.Index, peers, strings.Join(foreign, ", "), state)
	if n.lab.control && n.Index == 1 {
		text += fmt.Sprintf("accounts: {path: %s}\n", filepath.Join(state, "accounts.db"))
	}
	text += extra
	return os.WriteFile(n.ConfigFile(), []byte(text), 0o600)
}

// StartLanyardd starts the node's daemon, of the lab's build, and waits until it is ready.
func (n *Node) StartLanyardd(ctx context.Context) error {
	return n.startLanyardd(ctx, filepath.Join(n.lab.binDir, "lanyardd"))
}

func (n *Node) startLanyardd(ctx context.Context, binary string) error {
	if _, err := os.Stat(n.ConfigFile()); err != nil {
		if err := n.writeConfig(n.lab.config); err != nil {
			return err
		}
	}
	roles := "node"
	if n.lab.control && n.Index == 1 {
		roles = "node,control"
	}
	args := []string{binary, "--role", roles, "--config", n.ConfigFile()}
	if roles == "node" {
		args = append(unprivileged(), args...)
	}
	if err := n.daemon(ctx, "lanyardd", args...); err != nil {
		return err
	}
	return n.WaitReady(ctx, 60*time.Second)
}

// unprivileged begins a command that has no more than the systemd unit gives the daemon.
func unprivileged() []string {
	set := "-all"
	for _, c := range check.Capabilities {
		set += ",+" + strings.ToLower(strings.TrimPrefix(c.Name, "CAP_"))
	}
	return []string{"setpriv", "--bounding-set", set, "--inh-caps", "-all", "--no-new-privs"}
}

// WaitReady waits until lanyardd says that its programs are attached and its maps filled.
func (n *Node) WaitReady(ctx context.Context, limit time.Duration) error {
	err := poll(ctx, limit, func() error {
		out, err := n.Exec(ctx, "curl", "-s", "--max-time", "5", "--fail-with-body", "http://127.0.0.1:9469/readyz")
		if err == nil {
			return nil
		}
		// One look at the file: it may appear between two.
		if pid, _ := n.daemonPid(ctx, "lanyardd"); pid != "" && !n.alive(ctx, pid) {
			return stop(fmt.Errorf("it ended: %s", n.LogTail("lanyardd")))
		}
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(out))
	})
	if err != nil {
		return fmt.Errorf("%s: lanyardd is not ready: %w", n.Name, err)
	}
	return nil
}

// StopLanyardd asks the daemon to end (SIGTERM); traffic flows on.
func (n *Node) StopLanyardd(ctx context.Context) error {
	return n.signal(ctx, "lanyardd", "TERM", 60*time.Second)
}

// KillLanyardd ends it without a word (SIGKILL); traffic flows on.
func (n *Node) KillLanyardd(ctx context.Context) error {
	return n.signal(ctx, "lanyardd", "KILL", 60*time.Second)
}

// UpgradeLanyardd kills the daemon and starts another build of it.
func (n *Node) UpgradeLanyardd(ctx context.Context, binary string) error {
	if err := n.KillLanyardd(ctx); err != nil {
		return err
	}
	return n.startLanyardd(ctx, binary)
}

// Reconfigure restarts the daemon with further YAML in its configuration.
func (n *Node) Reconfigure(ctx context.Context, extra string) error {
	if err := n.writeConfig(extra); err != nil {
		return err
	}
	if err := n.StopLanyardd(ctx); err != nil {
		return err
	}
	return n.StartLanyardd(ctx)
}

// Lanyard runs the CLI on the node.
func (n *Node) Lanyard(ctx context.Context, args ...string) (string, error) {
	return n.Exec(ctx, append([]string{"lanyard"}, args...)...)
}

// StartLanyardds starts the daemon on every node.
func (l *Lab) StartLanyardds(ctx context.Context) error {
	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range l.nodes {
		group.Go(func() error { return n.StartLanyardd(ctx) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	l.log.Info("lanyardd", "nodes", len(l.nodes), "took", time.Since(start).Round(time.Millisecond))
	return nil
}
