package wake

import (
	"net/netip"

	"github.com/lanyard-project/lanyard/dataplane"
)

// tuple names a conversation. Its ports are zero where the protocol has none.
type tuple struct {
	proto dataplane.Proto
	peer  netip.AddrPort
	port  uint16
}

func tupleOf(f dataplane.Frame) tuple {
	return tuple{f.Proto, netip.AddrPortFrom(f.Peer, f.PeerPort), f.Port}
}

// portOf is the port of the webspace that a frame is for.
func portOf(f dataplane.Frame) Port { return Port{f.Proto, f.Port} }

const (
	ethernet  = 14
	leastIPv4 = 20
	leastTCP  = 20
	flagSYN   = 0x02
	flagRST   = 0x04
	flagACK   = 0x10
)

// opens says whether a frame can be the first of a conversation: all but TCP segments that are no SYN.
func opens(f dataplane.Frame) bool {
	if f.Proto != dataplane.TCP {
		return true
	}
	if len(f.Data) < ethernet+leastIPv4 {
		return false
	}
	tcp := f.Data[ethernet:]
	head := int(tcp[0]&15) * 4
	if head < leastIPv4 || len(tcp) < head+leastTCP {
		return false
	}
	return tcp[head+13]&(flagSYN|flagACK|flagRST) == flagSYN
}
