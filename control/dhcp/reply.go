package dhcp

import (
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

// newReply starts an answer (RFC 2131, table 3): the fields that every kind of answer has.
func (s *Server) newReply(m *dhcpv4.DHCPv4, kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	zero := net.IPv4zero.To4()
	r := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootReply,
		HWType:        iana.HWTypeEthernet,
		TransactionID: m.TransactionID,
		Flags:         m.Flags & 0x8000, // the other bits must be zero
		ClientHWAddr:  m.ClientHWAddr,
		ClientIPAddr:  zero, YourIPAddr: zero, ServerIPAddr: zero, GatewayIPAddr: zero,
		Options: dhcpv4.Options{},
	}
	r.UpdateOption(dhcpv4.OptMessageType(kind))
	r.UpdateOption(dhcpv4.OptServerIdentifier(s.config.Gateway.AsSlice()))
	if id := m.Options.Get(dhcpv4.OptionClientIdentifier); len(id) > 0 {
		r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionClientIdentifier, id)) // RFC 6842
	}
	return r
}

// configure adds what a client needs to know about the LAN, and with lease also for how long it has its address.
func (s *Server) configure(r, m *dhcpv4.DHCPv4, e *entry, lease bool) {
	if lease {
		// RFC 2131, section 4.4.5: T1 at half of the lease, T2 at 7/8.
		r.YourIPAddr = e.IP.AsSlice()
		r.UpdateOption(dhcpv4.OptIPAddressLeaseTime(s.config.Lease))
		r.UpdateOption(dhcpv4.Option{Code: dhcpv4.OptionRenewTimeValue, Value: dhcpv4.Duration(s.config.Lease / 2)})
		r.UpdateOption(dhcpv4.Option{Code: dhcpv4.OptionRebindingTimeValue, Value: dhcpv4.Duration((s.config.Lease * 7 / 8).Truncate(time.Second))})
	}
	prefix := s.config.Prefix
	r.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(prefix.Bits(), 32)))
	r.UpdateOption(dhcpv4.OptRouter(s.config.Gateway.AsSlice()))
	var servers []net.IP
	for _, a := range s.config.DNS {
		servers = append(servers, a.AsSlice())
	}
	r.UpdateOption(dhcpv4.OptDNS(servers...))
	// RFC 2132, section 5.1: at least 68. Sent unasked: some clients use it without putting it on their list.
	if mtu := s.config.MTU(); mtu >= 68 && mtu <= 0xffff {
		r.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{byte(mtu >> 8), byte(mtu)}))
	}
	if s.config.Domain != "" {
		addIfFits(r, dhcpv4.OptDomainName(s.config.Domain))
	}
	// The rest only for those who ask, and only while it fits.
	if e.Hostname != "" && asks(m, dhcpv4.OptionHostName) {
		addIfFits(r, dhcpv4.OptHostName(e.Hostname))
	}
	if asks(m, dhcpv4.OptionBroadcastAddress) {
		addIfFits(r, dhcpv4.OptBroadcastAddress(lastOf(prefix).AsSlice()))
	}
	if search := searchBytes(s.config.Search); len(search) > 0 && asks(m, dhcpv4.OptionDNSDomainSearchList) {
		addIfFits(r, dhcpv4.OptGeneric(dhcpv4.OptionDNSDomainSearchList, search))
	}
}

// asks looks into the parameter request list. The library's IsOptionRequested takes a missing list as "everything".
func asks(m *dhcpv4.DHCPv4, code dhcpv4.OptionCode) bool {
	for _, c := range m.Options.Get(dhcpv4.OptionParameterRequestList) {
		if c == code.Code() {
			return true
		}
	}
	return false
}

func addIfFits(r *dhcpv4.DHCPv4, o dhcpv4.Option) {
	r.UpdateOption(o)
	if len(r.ToBytes()) > maxMessage {
		r.DeleteOption(o.Code)
	}
}

// searchBytes is option 119 (RFC 3397).
func searchBytes(search []string) []byte {
	if len(search) == 0 {
		return nil
	}
	return (&rfc1035label.Labels{Labels: search}).ToBytes()
}

// lastOf is the highest address of an IPv4 prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}
