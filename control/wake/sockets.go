package wake

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/lanyard-project/lanyard/dataplane"
)

// tables of sockets, and the state that makes one worth a try: TCP_LISTEN, and for UDP TCP_CLOSE, "not connected".
var tables = []struct {
	file  string
	proto dataplane.Proto
	state string
}{
	{"tcp", dataplane.TCP, "0A"}, {"tcp6", dataplane.TCP, "0A"},
	{"udp", dataplane.UDP, "07"}, {"udp6", dataplane.UDP, "07"},
}

// openPorts reads a table such as /proc/net/tcp: the local ports of sockets in that state, those of loopback left out.
func openPorts(table []byte, state string) []uint16 {
	var out []uint16
	lines := bufio.NewScanner(bytes.NewReader(table))
	for lines.Scan() {
		f := strings.Fields(lines.Text()) // sl local_address rem_address st ...
		if len(f) < 4 || f[3] != state {
			continue
		}
		host, digits, ok := strings.Cut(f[1], ":")
		port, err := strconv.ParseUint(digits, 16, 16)
		if !ok || err != nil || port == 0 || loopback(host) {
			continue
		}
		out = append(out, uint16(port))
	}
	return out
}

// loopback reads an address as the kernel prints it: 32-bit words of the machine's byte order, here little-endian.
func loopback(text string) bool {
	b, err := hex.DecodeString(text)
	if err != nil || len(b)%4 != 0 {
		return true // not to be understood: it opens nothing
	}
	for n := 0; n < len(b); n += 4 {
		slices.Reverse(b[n : n+4])
	}
	a, ok := netip.AddrFromSlice(b)
	return !ok || a.Unmap().IsLoopback()
}
