package lab

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// StartLXD starts the node's LXD daemon and waits until it answers.
func (n *Node) StartLXD(ctx context.Context) error {
	if n.running(ctx, "lxd") {
		return nil
	}
	if err := n.daemon(ctx, "lxd", "lxd", "--group", "lxd"); err != nil {
		return err
	}
	err := poll(ctx, 60*time.Second, func() error {
		_, err := n.Exec(ctx, "curl", "-sf", "--max-time", "5", "--unix-socket", "/var/lib/lxd/unix.socket", "http://lxd/1.0")
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: LXD does not answer: %w; it said: %s", n.Name, err, n.LogTail("lxd"))
	}
	return nil
}

// StopLXD ends the LXD daemon; webspaces run on. hard is SIGKILL.
func (n *Node) StopLXD(ctx context.Context, hard bool) error {
	sig := "TERM"
	if hard {
		sig = "KILL"
	}
	return n.signal(ctx, "lxd", sig, 30*time.Second)
}

// LXC runs the lxc client on the node.
func (n *Node) LXC(ctx context.Context, args ...string) (string, error) {
	return n.Exec(ctx, append([]string{"lxc"}, args...)...)
}

const storageAndProfile = `storage_pools: [{name: default, driver: dir}]
profiles:
- name: default
  devices: {root: {type: disk, path: /, pool: default}}
`

// cluster initialises LXD on the first node and lets the others join it by tokens.
func (l *Lab) cluster(ctx context.Context) error {
	start := time.Now()
	first := l.Node(1)
	preseed := storageAndProfile
	if len(l.nodes) > 1 {
		preseed += fmt.Sprintf("config: {core.https_address: '%s:8443'}\ncluster: {server_name: %s, enabled: true}\n", first.Addr(), first.Name)
	}
	if _, err := first.Input(ctx, preseed, "lxd", "init", "--preseed"); err != nil {
		return fmt.Errorf("initialise LXD: %w", err)
	}
	for _, n := range l.nodes[1:] {
		out, err := first.LXC(ctx, "cluster", "add", "-q", n.Name)
		if err != nil {
			return fmt.Errorf("make a join token: %w", err)
		}
		lines := strings.Fields(out)
		if len(lines) == 0 {
			return fmt.Errorf("make a join token for %s: LXD printed none", n.Name)
		}
		preseed := fmt.Sprintf(`cluster:
  enabled: true
  server_name: %s
  server_address: %s:8443
  cluster_token: %s
  member_config: [{entity: storage-pool, name: default, key: source, value: ""}]
`, n.Name, n.Addr(), lines[len(lines)-1])
		if _, err := n.Input(ctx, preseed, "lxd", "init", "--preseed"); err != nil {
			return fmt.Errorf("%s joins the cluster: %w", n.Name, err)
		}
	}
	l.log.Info("lxd", "members", len(l.nodes), "took", time.Since(start).Round(time.Millisecond))
	return nil
}
