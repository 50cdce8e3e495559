package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// state is what is written down about a running lab, for Open and Clean.
type state struct {
	ID         string
	Nodes      int
	LXD        bool
	Control    bool
	BinDir     string
	Namespaces []savedNamespace
}

type savedNamespace struct {
	Name string
	Pid  int
	Born uint64
	Kind string // node, router, server, client, host
}

func stateFile(dir string) string { return filepath.Join(dir, "lab.json") }

func (l *Lab) writeState() error {
	s := state{ID: l.ID, Nodes: len(l.nodes), LXD: !l.noLXD, Control: l.control, BinDir: l.binDir}
	add := func(ns *Namespace, kind string) {
		if ns != nil {
			s.Namespaces = append(s.Namespaces, savedNamespace{ns.Name, ns.Pid, ns.Born, kind})
		}
	}
	for _, n := range l.nodes {
		add(n.Namespace, "node")
	}
	add(l.Router, "router")
	add(l.Server, "server")
	add(l.Client, "client")
	for _, h := range l.Hosts {
		add(h, "host")
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(stateFile(l.Dir), b, 0o600)
}

func readState(dir string) (state, error) {
	var s state
	b, err := os.ReadFile(stateFile(dir))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", stateFile(dir), err)
	}
	return s, nil
}

func (s state) alive() bool {
	for _, n := range s.Namespaces {
		if born, err := startTime(n.Pid); err == nil && born == n.Born {
			return true
		}
	}
	return false
}

// Open attaches to a detached lab that runs already.
func Open(id string, log *slog.Logger) (*Lab, error) {
	dir := defaultDir(id)
	s, err := readState(dir)
	if err != nil || !s.alive() {
		return nil, fmt.Errorf("open lab %q: it is not running; next: lab up --id %s", id, id)
	}
	l := &Lab{ID: id, Dir: dir, binDir: s.BinDir, detached: true, noLXD: !s.LXD, control: s.Control, log: log}
	for _, sn := range s.Namespaces {
		ns := &Namespace{Name: sn.Name, Pid: sn.Pid, Born: sn.Born, Dir: filepath.Join(dir, sn.Name)}
		ns.env = l.environment(ns)
		switch sn.Kind {
		case "node":
			l.nodes = append(l.nodes, &Node{Namespace: ns, Index: len(l.nodes) + 1, lab: l})
		case "router":
			l.Router = ns
		case "server":
			l.Server = ns
		case "client":
			l.Client = ns
		default:
			l.Hosts = append(l.Hosts, ns)
		}
	}
	return l, nil
}

// Clean removes everything of a lab, running or what a killed one has left: processes, cgroups, files. Network
// devices and mounts live in the namespaces and went with them.
func Clean(id, dir string) error {
	if dir == "" {
		dir = defaultDir(id)
	}
	s, err := readState(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, sn := range s.Namespaces {
		ns := &Namespace{Name: sn.Name, Pid: sn.Pid, Born: sn.Born}
		ns.kill()
	}
	// A lab that was killed while it was being built has written nothing down; its members are in the cgroups.
	if err := killCgroups(cgroupPrefix(id)); err != nil {
		return err
	}
	if err := removeCgroups(cgroupPrefix(id)); err != nil {
		return err
	}
	for range 100 { // the last reference to a mount may be a dying process
		if err = os.RemoveAll(dir); err == nil || !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w; likely cause: something is mounted there; next: findmnt -R %s", dir, err, dir)
	}
	_ = os.Remove(filepath.Dir(defaultDir(id))) // goes with the last lab
	return nil
}

// List names the labs that have files under the default folder.
func List() ([]string, error) {
	dirs, err := filepath.Glob(defaultDir("*"))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, d := range dirs {
		ids = append(ids, filepath.Base(d))
	}
	return ids, nil
}

// cleanDead removes what labs of killed processes have left. A lab that is being built has written nothing down yet.
func cleanDead(log *slog.Logger) {
	ids, err := List()
	if err != nil {
		return
	}
	for _, id := range ids {
		if s, err := readState(defaultDir(id)); err != nil || s.alive() {
			continue
		}
		if err := Clean(id, ""); err != nil {
			log.Warn("a dead lab cannot be removed", "id", id, "err", err)
		}
	}
}
