package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// init keeps the first thread for main. Package os/signal keeps a thread that blocks nearly every signal; if that were the
// first one, LXC would take init for systemd after all, see unblock.
func init() {
	if os.Getpid() == 1 {
		runtime.LockOSThread()
	}
}

// initd is PID 1 of a tiny webspace: it brings eth0 up by DHCP and serves, until LXD asks it to stop (SIGPWR).
// PROBE_NO_DHCP in its environment leaves the address to the test; PROBE_LINGER is how long it takes to end when its services have.
func initd() int {
	unblock()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGPWR, syscall.SIGTERM, syscall.SIGINT)
	for _, args := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"hostname", "-F", "/etc/hostname"},
	} {
		if out, err := exec.Command("/bin/busybox", args...).CombinedOutput(); err != nil {
			fmt.Printf("init: %v: %v: %s\n", args, err, out)
		}
	}
	if os.Getenv("PROBE_NO_DHCP") == "" {
		go keep("/bin/busybox", "udhcpc", "-f", "-i", "eth0", "-s", "/etc/udhcpc.script", "-p", "/run/udhcpc.pid",
			"-O", "mtu", "-t", "4", "-T", "1", "-A", "1")
	}
	go keep("/bin/probe", "serve")
	go reap()
	<-stop
	ending.Store(true)
	_ = syscall.Kill(-1, syscall.SIGTERM)
	linger, err := time.ParseDuration(os.Getenv("PROBE_LINGER"))
	if err != nil {
		linger = 50 * time.Millisecond
	}
	time.Sleep(linger)
	return 0
}

// unblock starts init anew with no signal blocked. LXC takes a blocked SIGRTMIN+3 for a sign of systemd and would send that
// instead of SIGPWR; its monitor passes its own mask on, and the first thread of a Go program keeps what it finds.
func unblock() {
	status, err := os.ReadFile("/proc/1/status") // of the first thread, which need not be ours
	if err != nil || !strings.Contains(string(status), "\nSigBlk:") || strings.Contains(string(status), "\nSigBlk:\t0000000000000000\n") {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var none unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil); err == nil {
		err = unix.Exec("/proc/self/exe", os.Args, os.Environ())
		fmt.Println("init: cannot start anew:", err)
	}
}

var ending atomic.Bool

// keep runs a program again whenever it ends. Its process is waited for here, orphans by reap.
func keep(args ...string) {
	for !ending.Load() {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		err := cmd.Run()
		fmt.Printf("init: %v ended: %v\n", args, err)
		time.Sleep(500 * time.Millisecond)
	}
}

// reap collects orphans. Children of keep are told apart by waiting only for zombies that nobody waits for: they are
// given the time that os/exec needs.
func reap() {
	for range time.Tick(5 * time.Second) {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			continue
		}
		for _, e := range entries {
			var pid, ppid int
			var comm, state string
			b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
			if err != nil {
				continue
			}
			if n, _ := fmt.Sscanf(string(b), "%d %s %s %d", &pid, &comm, &state, &ppid); n == 4 && ppid == 1 && state == "Z" {
				var status syscall.WaitStatus
				_, _ = syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
			}
		}
	}
}
