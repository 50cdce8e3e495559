package sleep

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lanyard-project/lanyard/dataplane"
)

const tcp4 = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 010118AC:0050 070200C0:1267 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
   2: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1
   3: 010118AC:9C40 096433C6:01BB 01 00000000:00000000 00:00000000 00000000     0        0 4 1 0 20 4 30 10 -1
   4: 010118AC:0050 070200C0:1268 06 00000000:00000000 00:00000000 00000000     0        0 0 3 0
   5: 010118AC:0050 010118AC:1268 01 00000000:00000000 00:00000000 00000000     0        0 0 3 0
`

const tcp6 = `  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000
   1: 0000000000000000FFFF0000010118AC:0016 0000000000000000FFFF0000080200C0:1267 01 00000000:00000000
   2: 00000000000000000000000001000000:0016 00000000000000000000000001000000:1267 01 00000000:00000000
`

func write(t *testing.T, root, name, text string) {
	t.Helper()
	name = filepath.Join(root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestSockets(t *testing.T) {
	root := t.TempDir()
	write(t, root, "7/net/tcp", tcp4)
	write(t, root, "7/net/tcp6", tcp6)
	s := Sockets{Root: root, Pid: func(string) (int, error) { return 7, nil }}
	list, err := s.Flows("ws-u1")
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	port := netip.MustParseAddrPort
	for n, want := range []dataplane.Flow{
		{Local: port("172.24.1.1:80"), Remote: port("192.0.2.7:4711"), Passive: true},
		{Local: port("172.24.1.1:40000"), Remote: port("198.51.100.9:443")},
		{Local: port("172.24.1.1:22"), Remote: port("192.0.2.8:4711"), Passive: true},
	} {
		if list[n] != want {
			t.Errorf("%+v, want %+v", list[n], want)
		}
	}
	if err := os.Remove(filepath.Join(root, "7/net/tcp6")); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Flows("ws-u1"); err != nil || len(list) != 2 {
		t.Error(list, err)
	}
	for _, bad := range []string{"0: x:0050 070200C0:1267 01", "0: 010118AC:0050 070200C0 01", "0: 010118AC:0050 070200C0:1267 zz",
		"0: " + strings.Repeat("x", 1<<20)} {
		write(t, root, "7/net/tcp", bad)
		if list, err := s.Flows("ws-u1"); err == nil {
			t.Errorf("%.40q gave %v", bad, list)
		}
	}
	gone := Sockets{Root: root, Pid: func(string) (int, error) { return 8, nil }}
	if _, err := gone.Flows("ws-u1"); err == nil {
		t.Error("a process that is gone has no connections")
	}
	many := strings.Repeat("1: 010118AC:0050 070200C0:1267 01\n", 5000)
	write(t, root, "7/net/tcp", many)
	if list, err := s.Flows("ws-u1"); err != nil || len(list) != mostFlows {
		t.Error(len(list), err)
	}
}

// The kernel of this machine writes what is read here.
func TestSocketsOfThisProcess(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := os.Open("/proc/self/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	listens := map[uint16]bool{}
	if _, err := sockets(f, nil, listens); err != nil || !listens[uint16(l.Addr().(*net.TCPAddr).Port)] {
		t.Error(err, listens)
	}
}

func TestMemory(t *testing.T) {
	m, err := Proc{}.Memory()
	if err != nil || m.Total < 64<<20 || m.Available == 0 || m.Available > m.Total {
		t.Errorf("%+v %v", m, err)
	}
	root := t.TempDir()
	write(t, root, "meminfo", "MemTotal:       24683656 kB\nMemFree:  1 kB\nMemAvailable:   23976132 kB\nx\n")
	if m, err := (Proc{Root: root}).Memory(); err != nil || m != (Memory{Total: 24683656 << 10, Available: 23976132 << 10}) {
		t.Errorf("%+v %v", m, err)
	}
	write(t, root, "pressure/memory", "some avg10=12.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=7.25 avg60=0.00 avg300=0.00 total=0\n")
	if m, err := (Proc{Root: root}).Memory(); err != nil || !m.PSI || m.Stalled != 7.25 {
		t.Errorf("%+v %v", m, err)
	}
	for _, bad := range []string{"", "full\n", "full avg10=x\n", "full avg10=-1\n", "full avg10=NaN\n", "full avg99=1\n"} {
		write(t, root, "pressure/memory", bad)
		if m, err := (Proc{Root: root}).Memory(); err != nil || m.PSI {
			t.Errorf("%q: %+v %v", bad, m, err)
		}
	}
	for _, bad := range []string{"", "MemTotal: x kB\n", "MemTotal: 1 kB\nMemAvailable: 2 kB\n", "MemTotal: 99999999999999999999999 kB\n"} {
		write(t, root, "meminfo", bad)
		if m, err := (Proc{Root: root}).Memory(); err == nil {
			t.Errorf("%q: %+v", bad, m)
		}
	}
}

func TestHolds(t *testing.T) {
	var h Holds
	if h.Of(1) != nil || len(h.released(func(int) bool { return true })) != 0 {
		t.Error("nothing was held")
	}
	release := h.Hold(1, "exec")
	if got := h.Of(1); len(got) != 1 || got[0].What != "exec" || h.Of(2) != nil {
		t.Error(got)
	}
	release()
	release()
	if h.Of(1) != nil || h.released(func(int) bool { return true })[1].IsZero() {
		t.Error("it is still held")
	}
	if len(h.released(func(int) bool { return false })) != 0 {
		t.Error("it is not forgotten")
	}
}
