package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

// manager is as much of a service manager as keeps sockets: sd_notify's FDSTORE and sd_listen_fds.
type manager struct {
	path string

	mu   sync.Mutex
	kept map[string]*os.File
}

var fdName = regexp.MustCompile(`(?m)^FDNAME=(.*)$`)

func newManager(t *testing.T) *manager {
	t.Helper()
	g := &manager{path: t.TempDir() + "/notify", kept: map[string]*os.File{}}
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: g.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, f := range g.kept {
			f.Close()
		}
	})
	go func() {
		defer close(done)
		b, oob := make([]byte, 512), make([]byte, 512)
		for {
			n, on, _, _, err := l.ReadMsgUnix(b, oob)
			if err != nil {
				return
			}
			g.heard(string(b[:n]), oob[:on])
		}
	}()
	return g
}

func (g *manager) heard(text string, oob []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	name := fdName.FindStringSubmatch(text)
	if name == nil {
		return
	}
	if old := g.kept[name[1]]; old != nil {
		old.Close()
		delete(g.kept, name[1])
	}
	if list, err := unix.ParseSocketControlMessage(oob); err == nil && len(list) == 1 {
		if fds, err := unix.ParseUnixRights(&list[0]); err == nil && len(fds) == 1 {
			g.kept[name[1]] = os.NewFile(uintptr(fds[0]), name[1])
		}
	}
}

func (g *manager) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.kept)
}

// command has a daemon started with what is kept.
func (g *manager) command(cmd *exec.Cmd) *exec.Cmd {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, cmd.Args...)...)
	var names []string
	for name, f := range g.kept {
		names = append(names, name)
		out.ExtraFiles = append(out.ExtraFiles, f)
	}
	out.Env = append(os.Environ(), "NOTIFY_SOCKET="+g.path, "LISTEN_FDS="+strconv.Itoa(len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	return out
}

// dialIn opens a UDP socket in a network namespace.
func dialIn(t *testing.T, name, to string) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var ns netns.NsHandle
		if ns, err = netns.GetFromName(name); err != nil {
			return
		}
		defer ns.Close()
		if err = netns.Set(ns); err == nil {
			c, err = net.Dial("udp4", to)
		}
	}()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

const (
	loadRate = 5000 // queries per second
	// killedWith is how many queries a killed daemon may have read and not yet answered: what it reads at once.
	killedWith = 32
)

// load asks the same question at loadRate, whether or not answers come.
type load struct {
	asked, answered, longest atomic.Int64 // longest: nanoseconds without an answer
	stop                     func()
}

func startLoad(t *testing.T, c net.Conn, wire []byte, answer string) *load {
	l := new(load)
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// The answers to all that waited come at once.
	if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	over := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for began := time.Now(); ; {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			for due := int64(time.Since(began).Seconds() * loadRate); l.asked.Load() < due; l.asked.Add(1) {
				if _, err := c.Write(wire); err != nil {
					t.Error("nobody listens:", err)
					return
				}
			}
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		var r dns.Msg
		for last := time.Now(); ; {
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			n, err := c.Read(buf)
			if err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
					t.Error("the socket was closed:", err)
				}
				return
			}
			if r.Unpack(buf[:n]) != nil || len(r.Answer) != 1 || !strings.HasSuffix(r.Answer[0].String(), answer) {
				t.Error("another answer:", r.String())
				return
			}
			l.answered.Add(1)
			now := time.Now()
			l.longest.Store(max(l.longest.Load(), int64(now.Sub(last))))
			last = now
			select {
			case <-over:
				if l.answered.Load() == l.asked.Load() {
					return
				}
			default:
			}
		}
	}()
	l.stop = sync.OnceFunc(func() {
		close(over)
		all.Wait()
		<-done
	})
	t.Cleanup(l.stop)
	return l
}

// The daemon is ended and killed under queries of a webspace, and started again by a manager that keeps its sockets:
// whoever repeats his question is answered, LXD being away or not. How long the longest wait was is only told.
func TestNamesSurviveRestarts(t *testing.T) {
	m := newMachine(t)
	m.lxd.start(t)
	g := newManager(t)
	t.Setenv("LANYARD_DNS_RATE", "0") // of one webspace
	caps := capabilities(t)
	running := func(s nodeapi.Status) bool { return s.Readiness.Ready && s.DNS.Running && s.DNS.Records >= 3 }
	d := m.run(g.command(m.command(caps)))
	s := m.status("names are served", running)
	if !slices.ContainsFunc(s.Readiness.Checks, func(c nodeapi.Check) bool { return c.Name == "dns" && c.OK }) {
		t.Errorf("%+v", s.Readiness)
	}
	wait(t, "the sockets are kept", func() bool { return g.count() == 2 })
	sh(t, "ip", "-n", m.ws, "addr", "add", m.wsIP()+"/16", "dev", "eth0")

	c := dialIn(t, m.ws, "172.24.254.1:53")
	q := new(dns.Msg)
	q.SetQuestion("ws-u1.webspace.", dns.TypeA)
	wire, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	load := startLoad(t, c, wire, m.wsIP())
	flows := func(what string) {
		before := load.answered.Load()
		wait(t, what, func() bool { return load.answered.Load() >= before+1000 })
	}
	flows("queries are answered")
	var replaced []*daemon
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if end == syscall.SIGKILL {
			m.lxd.stop()
		}
		if err := d.Process.Signal(end); err != nil {
			t.Fatal(err)
		}
		d.wait(t)
		d = m.run(g.command(m.command(caps)))
		m.status("names are served again", running)
		flows(fmt.Sprintf("queries are answered after %v", end))
		replaced = append(replaced, d)
	}
	load.stop()
	t.Logf("%d queries at %d/s over 2 restarts, %d answered, the longest time without an answer %v",
		load.asked.Load(), loadRate, load.answered.Load(), time.Duration(load.longest.Load()))
	if lost := load.asked.Load() - load.answered.Load(); lost > killedWith {
		t.Errorf("%d queries are not answered", lost)
	}

	t.Log("a name that nobody has, and who may not ask")
	if out, err := m.inside("dig", "+time=20", "@172.24.254.1", "ws-u999.webspace"); err != nil || !strings.Contains(out, "NXDOMAIN") {
		t.Errorf("%v %s", err, out)
	}
	defer func() {
		_ = d.Process.Kill()
		for _, d := range replaced {
			d.wait(t) // its log is whole then
			if !strings.Contains(d.log.String(), "inherited=true") {
				t.Error("a new daemon did not take the kept sockets over")
			}
		}
	}()
	metrics := sh(t, "ip", "netns", "exec", m.ns, "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:9469/metrics")
	for _, want := range []string{"lanyard_dns_running 1", `lanyard_dns_answers_total{code="nxdomain",source="zone"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
}
