package lxdtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lanyard-project/lanyard/simplestreams/server"
)

const preseed = `storage_pools: [{name: default, driver: dir}]
profiles:
- name: default
  devices: {root: {type: disk, path: /, pool: default}}
`

// withIncus does the same with Incus, in the namespaces of the same node.
func withIncus(t *testing.T, s *site) {
	s.t = t
	const home = "/run/incus-home" // in the node only; roots of containers must be able to reach it
	env := []string{"env", "INCUS_DIR=" + home, "INCUS_SECURITY_APPARMOR=false"}
	outside := filepath.Join(s.node.Dir, "incus")
	must(t, os.Mkdir(outside, 0o711))
	s.exec("mkdir", home)
	s.exec("mount", "--bind", outside, home)
	// In the node's own cgroups, like its other daemons: containers get theirs beside it.
	const join = `if [ -d /sys/fs/cgroup/daemons ]; then echo 0 > /sys/fs/cgroup/daemons/cgroup.procs
else for h in /sys/fs/cgroup/*/; do echo 0 > $h/cgroup.procs; done; fi
exec "$@"`
	stop, err := s.node.Background("incusd", append(append([]string{"/bin/sh", "-c", join, "sh"}, env...), "/usr/libexec/incus/incusd", "--group", "root")...)
	must(t, err)
	defer stop()
	incus := func(args ...string) string {
		t.Helper()
		return s.exec(append(append(env[:len(env):len(env)], "incus"), args...)...)
	}
	until(t, "Incus answers", func() bool {
		_, err := s.node.Exec(s.ctx, append(append(env[:len(env):len(env)], "incus"), "query", "/1.0")...)
		return err == nil
	})
	_, err = s.node.Input(s.ctx, preseed, append(append(env[:len(env):len(env)], "incus"), "admin", "init", "--preseed")...)
	must(t, err)

	first := s.publish("i/v1.9.0")
	url, lib, end := s.start("incus", server.Options{PullThrough: true})
	defer end()
	incus("remote", "add", "x", url, "--protocol", "simplestreams")
	if i := images(t, incus("image", "list", "x:i", "--format", "json"))[first]; !hasAlias(i, "i") || i.Properties["serial"] != "20260203_0001.0009.0000_v1.9.0" {
		t.Fatalf("listed: %+v", i)
	}
	if info := incus("image", "info", "x:i"); !strings.Contains(info, first) {
		t.Errorf("info: %s", info)
	}
	incus("image", "copy", "--auto-update", "--alias", "i", "x:i", "local:")
	if i := images(t, incus("image", "list", "--format", "json"))[first]; !i.AutoUpdate || !hasAlias(i, "i") {
		t.Errorf("copied: %+v", i)
	}
	if _, err := s.node.Exec(s.ctx, append(append(env[:len(env):len(env)], "incus"), "launch", "x:i", "c1")...); err != nil {
		log, _ := s.node.Exec(s.ctx, append(append(env[:len(env):len(env)], "incus"), "info", "c1", "--show-log")...)
		t.Fatalf("%v: %s", err, log)
	}
	if out := incus("exec", "c1", "-T", "--", "busybox", "echo", "it lives"); strings.TrimSpace(out) != "it lives" {
		t.Errorf("in the container: %q", out)
	}
	incus("delete", "--force", "c1")
	newer := s.publish("i/v1.10.0")
	s.refresh(lib)
	s.exec("sh", "-c", "rm -rf "+home+"/cache/*") // Incus keeps the index for an hour
	incus("image", "refresh", "i")
	if i := images(t, incus("image", "list", "--format", "json"))[newer]; !hasAlias(i, "i") {
		t.Errorf("refreshed: %+v", i)
	}
}
