package admin

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/lanyard-project/lanyard/control/cli"
)

func frameBytes(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	ether = "024cac18fe01 024cac180101 "
	ip4   = "45000028 1234 4000 40 06 0000 ac180109 c0000207 " // TCP 172.24.1.9 > 192.0.2.7
	udp4  = "45000028 1234 0000 40 11 0000 c0000209 c0000201 "
)

func TestDecode(t *testing.T) {
	arp := ether + "0806 0001 0800 06 04 0001 024cac180101 ac180101 000000000000 ac18fe01"
	tests := []struct{ name, data, want string }{
		{"syn", ether + "0800" + ip4 + "1151 0035 00000000 00000000 50 02 2000 0000 0000", "172.24.1.9:4433 > 192.0.2.7:53 tcp SYN"},
		{"cut in the TCP header", ether + "0800" + ip4 + "1151 0035 0000", "172.24.1.9:4433 > 192.0.2.7:53 tcp"},
		{"cut before the ports", ether + "0800" + ip4, "172.24.1.9 > 192.0.2.7 tcp truncated"},
		{"cut in the IP header", ether + "0800 4500", "02:4c:ac:18:01:01 > 02:4c:ac:18:fe:01 ipv4 truncated"},
		{"later fragment", ether + "0800 45000028 1234 00b9 40 11 0000 ac180109 c0000207 aaaaaaaaaaaaaaaa", "172.24.1.9 > 192.0.2.7 udp fragment at 1480"},
		{"header length beyond the packet", ether + "0800 4f000028 1234 0000 40 11 0000 ac180109 c0000207", "172.24.1.9 > 192.0.2.7 udp bad header length 60"},
		{"arp", arp, "arp who-has 172.24.254.1 tell 172.24.1.1 (02:4c:ac:18:01:01)"},
		{"vlan", ether + "8100 0064 0806", "02:4c:ac:18:01:01 > 02:4c:ac:18:fe:01 arp VLAN 100 truncated"},
		{"unknown type", ether + "88cc", "02:4c:ac:18:01:01 > 02:4c:ac:18:fe:01 0x88cc"},
		{"rogue DHCP server", ether + "0800" + udp4 + "0043 0044 0010 0000 02", "192.0.2.9:67 > 192.0.2.1:68 udp DHCP reply"},
		{"tunnel", ether + "0800" + udp4 + "c000 12b5 0040 0000 08000000 001ca300" + ether + "0800" + ip4 + "1151 0035",
			"192.0.2.9:49152 > 192.0.2.1:4789 udp VNI 7331 [172.24.1.9:4433 > 192.0.2.7:53 tcp]"},
		{"icmp", ether + "0800 45000028 1234 0000 40 01 0000 ac180109 c0000207 0800", "172.24.1.9 > 192.0.2.7 icmp EchoRequest"},
		{"ipv6", ether + "86dd 60000000 0008 3a ff fe80" + strings.Repeat("00", 13) + "01 ff02" + strings.Repeat("00", 13) + "01 8600",
			"fe80::1 > ff02::1 icmpv6 RouterAdvertisement"},
		{"empty", "", "(too short to read)"},
	}
	for _, test := range tests {
		if got := decode(frameBytes(t, test.data), 4789).String(); got != test.want {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, test.want)
		}
	}
}

// FuzzDecode: whatever a webspace sends, its line is one line, and steers no terminal.
func FuzzDecode(f *testing.F) {
	f.Add(frameBytes(f, ether+"0800"+udp4+"c000 12b5 0040 0000 08000000 001ca300"+ether+"0800"+ip4+"1151 0035"))
	f.Add(frameBytes(f, ether+"8100 0064 0806"))
	f.Fuzz(func(t *testing.T, data []byte) {
		line := decode(bytes.Clone(data), 4789).String()
		if line != cli.Printable(line) || strings.Contains(line, "\n") {
			t.Errorf("unprintable: %q", line)
		}
	})
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"ws-u3":                  "ws-u3",
		"\x1b[2J\x07evil":        "?[2J?evil",
		"a\u009b31mb\u202etxt\n": "a?31mb?txt?",
		"Zürich ✓":               "Zürich ✓",
		"bad \xff utf8":          "bad ? utf8",
	} {
		if got := cli.Printable(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
