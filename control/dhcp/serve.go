package dhcp

import (
	"bytes"
	"errors"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

var (
	anyIPv4  = netip.AddrFrom4([4]byte{})
	everyone = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// answer is what serve decided about one frame.
type answer struct {
	frame   []byte // nil: say nothing
	ifindex int    // the requester's own port
	kind    string // offer, ack, nak
	drop    Drop   // why nothing is said; "" also when nothing has to be said (release, decline)
	entry   *entry // the sender, when it is known
	message dhcpv4.MessageType
}

// serve decides about one frame, by the frame and the table alone.
func (s *Server) serve(t table, frame []byte, now time.Time) answer {
	req, drop := parseFrame(frame)
	if drop != "" {
		return answer{drop: drop}
	}
	if s.nodeMAC != [6]byte{} && req.dstMAC != s.nodeMAC {
		return answer{drop: DropNotOurs}
	}
	e := t[req.srcMAC]
	if e == nil {
		return answer{drop: DropUnknown}
	}
	if !e.limit.take(now) {
		return answer{drop: DropRateLimit, entry: e}
	}
	a := answer{entry: e, ifindex: e.Ifindex}
	m, drop := parseMessage(req.message)
	if drop == "" {
		a.message = m.MessageType()
		drop = s.identify(req, m, e)
	}
	if drop != "" {
		a.drop = drop
		return a
	}
	reply, drop := s.decide(m, e)
	switch {
	case drop != "":
		a.drop = drop
	case reply == nil: // nothing to say
	case e.Ifindex <= 0:
		a.drop = DropNoPort
	default:
		a.kind = kinds[reply.MessageType()]
		mac, ip := s.destination(m, reply, e)
		a.frame = buildFrame(s.gatewayMAC, mac, s.config.Gateway, ip, reply.ToBytes())
	}
	return a
}

var kinds = map[dhcpv4.MessageType]string{
	dhcpv4.MessageTypeDiscover: "discover", dhcpv4.MessageTypeRequest: "request", dhcpv4.MessageTypeDecline: "decline",
	dhcpv4.MessageTypeRelease: "release", dhcpv4.MessageTypeInform: "inform",
	dhcpv4.MessageTypeOffer: "offer", dhcpv4.MessageTypeAck: "ack", dhcpv4.MessageTypeNak: "nak",
}

// maxClientID bounds what is echoed, in octets: an answer with it and all that a client must know fits maxMessage.
// Real ones have 7 to 19, or some dozens for a DUID (RFC 4361: at most 130).
const maxClientID = 200

// Where the fields are that option 52 may turn into more options.
const (
	offsetSname = 44
	offsetFile  = 108
	offsetMagic = 236
)

// parseMessage decodes a message. A missing end option is forgiven (some clients pad to the end instead); the
// file and sname fields are read as options when option 52 says that they hold some (RFC 2131, section 4.1).
func parseMessage(b []byte) (*dhcpv4.DHCPv4, Drop) {
	if len(b) < offsetMagic+4 {
		return nil, DropShort
	}
	m, err := dhcpv4.FromBytes(append(bytes.Clone(b), dhcpv4.OptionEnd.Code()))
	if err != nil {
		return nil, DropMalformed
	}
	if o := m.Options.Get(dhcpv4.OptionOptionOverload); len(o) > 0 {
		var errs error
		if o[0]&1 != 0 {
			errs = m.Options.FromBytes(b[offsetFile:offsetMagic])
		}
		if o[0]&2 != 0 {
			errs = errors.Join(errs, m.Options.FromBytes(b[offsetSname:offsetFile]))
		}
		if len(o) != 1 || o[0] < 1 || o[0] > 3 || errs != nil {
			return nil, DropMalformed
		}
	}
	for code, size := range fixedSizes {
		if v := m.Options.Get(code); v != nil && len(v) != size {
			return nil, DropMalformed
		}
	}
	if id := m.Options.Get(dhcpv4.OptionClientIdentifier); len(id) > maxClientID {
		return nil, DropMalformed
	}
	return m, ""
}

var fixedSizes = map[dhcpv4.OptionCode]int{
	dhcpv4.OptionDHCPMessageType:    1,
	dhcpv4.OptionRequestedIPAddress: 4,
	dhcpv4.OptionServerIdentifier:   4,
}

// identify makes sure that a message speaks for the MAC that sent it, and for no other address than that MAC's.
func (s *Server) identify(req request, m *dhcpv4.DHCPv4, e *entry) Drop {
	switch {
	case m.OpCode != dhcpv4.OpcodeBootRequest:
		return DropMalformed
	case m.HWType != iana.HWTypeEthernet || len(m.ClientHWAddr) != 6:
		return DropMalformed
	case !bytes.Equal(m.ClientHWAddr, e.mac[:]):
		return DropIdentity
	case !m.GatewayIPAddr.IsUnspecified():
		return DropRelay
	case req.src != anyIPv4 && req.src != e.IP && req.src != address(m.ClientIPAddr): // the last is refused later
		return DropIdentity
	case req.dst != everyone && req.dst != s.config.Gateway:
		return DropOtherServer
	}
	return ""
}

// decide is the state machine of RFC 2131, section 4.3. The server knows no states: the answer to a message follows
// from the message and the reservation. No reply and no drop: nothing has to be said.
func (s *Server) decide(m *dhcpv4.DHCPv4, e *entry) (*dhcpv4.DHCPv4, Drop) {
	chosen, asked, has := address(m.Options.Get(dhcpv4.OptionServerIdentifier)),
		address(m.Options.Get(dhcpv4.OptionRequestedIPAddress)), address(m.ClientIPAddr)
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		if !e.IP.IsValid() {
			return nil, DropUnknown
		}
		reply := s.newReply(m, dhcpv4.MessageTypeOffer)
		s.configure(reply, m, e, true)
		return reply, ""

	case dhcpv4.MessageTypeRequest:
		claimed := asked // SELECTING and INIT-REBOOT ask; RENEWING and REBINDING have
		if has != anyIPv4 {
			claimed = has
		}
		switch {
		case chosen != anyIPv4 && chosen != s.config.Gateway:
			return nil, DropOtherServer
		case claimed == anyIPv4:
			return nil, DropMalformed
		case claimed != e.IP, asked != anyIPv4 && asked != e.IP:
			return s.newReply(m, dhcpv4.MessageTypeNak), ""
		}
		reply := s.newReply(m, dhcpv4.MessageTypeAck)
		if has != anyIPv4 {
			reply.ClientIPAddr = e.IP.AsSlice()
		}
		s.configure(reply, m, e, true)
		return reply, ""

	case dhcpv4.MessageTypeInform:
		if has != e.IP {
			return nil, DropIdentity
		}
		reply := s.newReply(m, dhcpv4.MessageTypeAck)
		reply.ClientIPAddr = e.IP.AsSlice()
		s.configure(reply, m, e, false) // RFC 2131, section 4.3.5: no lease time, no yiaddr
		return reply, ""

	case dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeDecline:
		if chosen != anyIPv4 && chosen != s.config.Gateway {
			return nil, DropOtherServer
		}
		return nil, "" // the address stays reserved for this MAC
	}
	return nil, DropMalformed
}

// destination is RFC 2131, section 4.1: a refusal is broadcast, a client with an address is answered there, one that
// cannot yet receive unicast says so by its flag. All leave by the requester's port only.
func (s *Server) destination(m, reply *dhcpv4.DHCPv4, e *entry) ([6]byte, netip.Addr) {
	switch {
	case reply.MessageType() == dhcpv4.MessageTypeNak:
		return broadcastMAC, everyone
	case !m.ClientIPAddr.IsUnspecified():
		return e.mac, e.IP // decide made sure that ciaddr is e.IP
	case m.IsBroadcast():
		return broadcastMAC, everyone
	}
	return e.mac, e.IP
}

// address reads an IPv4 address; anything else is 0.0.0.0, "none".
func address(b []byte) netip.Addr {
	if a, ok := netip.AddrFromSlice(b); ok && a.Is4() {
		return a
	}
	return anyIPv4
}
