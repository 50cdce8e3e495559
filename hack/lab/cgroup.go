package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchies lists the mount points of the cgroup trees: one on a v2 machine, several with v1 or both.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{cgroupRoot}, nil
	}
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, fmt.Errorf("list cgroup hierarchies: %w; likely cause: none mounted; next: mount -t cgroup2 none %s", err, cgroupRoot)
	}
	var list []string
	for _, e := range entries {
		dir := filepath.Join(cgroupRoot, e.Name())
		// A symbolic link (cpu -> cpu,cpuacct) names a hierarchy that is listed itself.
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); e.IsDir() && err == nil {
			list = append(list, dir)
		}
	}
	return list, nil
}

// makeCgroups makes the group in every hierarchy.
func makeCgroups(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		dir := filepath.Join(h, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make cgroup %s: %w", dir, err)
		}
		// v1: a cpuset takes no process before it has CPUs and memory nodes.
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			if b, err := os.ReadFile(filepath.Join(h, f)); err == nil {
				if err := os.WriteFile(filepath.Join(dir, f), b, 0o644); err != nil {
					return fmt.Errorf("fill %s of %s: %w", f, dir, err)
				}
			}
		}
	}
	return nil
}

// removeCgroups removes the groups whose names start with prefix, with all groups in them. Their processes are dead or dying.
func removeCgroups(prefix string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	var problems []error
	for _, h := range all {
		groups, err := filepath.Glob(filepath.Join(h, prefix+"*"))
		if err != nil {
			return err
		}
		for _, g := range groups {
			problems = append(problems, removeCgroup(g))
		}
	}
	return errors.Join(problems...)
}

func removeCgroup(group string) error {
	var last error
	for range 500 {
		var dirs []string
		_ = filepath.WalkDir(group, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil // groups vanish under the walk
		})
		last = nil
		for i := len(dirs) - 1; i >= 0; i-- {
			if err := os.Remove(dirs[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
				last = err
			}
		}
		if last == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	procs, _ := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	return fmt.Errorf("remove cgroup: %w; processes in it: %s", last, strings.ReplaceAll(string(procs), "\n", " "))
}

// killCgroups kills every process in the groups whose names start with prefix.
func killCgroups(prefix string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		groups, err := filepath.Glob(filepath.Join(h, prefix+"*"))
		if err != nil {
			return err
		}
		for _, g := range groups {
			_ = filepath.WalkDir(g, func(p string, d fs.DirEntry, err error) error {
				if err != nil || !d.IsDir() {
					return nil
				}
				thaw(p)
				procs, _ := os.ReadFile(filepath.Join(p, "cgroup.procs"))
				for _, f := range strings.Fields(string(procs)) {
					if pid, err := strconv.Atoi(f); err == nil && pid > 1 {
						_ = syscall.Kill(pid, syscall.SIGKILL)
					}
				}
				return nil
			})
		}
	}
	return nil
}

// thaw lets a frozen group run (a napping webspace): v1 keeps even SIGKILL from its processes until then.
func thaw(group string) {
	for f, running := range map[string]string{"freezer.state": "THAWED", "cgroup.freeze": "0"} {
		f = filepath.Join(group, f)
		if _, err := os.Stat(f); err == nil {
			_ = os.WriteFile(f, []byte(running), 0o644) // the root group has the file and refuses; a group may just have gone
		}
	}
}
