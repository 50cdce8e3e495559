package dhcp

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

var (
	gateway    = netip.MustParseAddr("172.24.254.1")
	gatewayMAC = net.HardwareAddr{0x02, 0x4c, 0, 0, 0, 1}
	nodeMAC    = net.HardwareAddr{0x02, 0x4c, 172, 24, 0, 1}
	alice      = Reservation{MAC: net.HardwareAddr{0x02, 0x4c, 172, 24, 1, 1}, IP: netip.MustParseAddr("172.24.1.1"), Hostname: "ws-u1", Ifindex: 11}
	bob        = Reservation{MAC: net.HardwareAddr{0x02, 0x4c, 172, 24, 1, 2}, IP: netip.MustParseAddr("172.24.1.2"), Hostname: "ws-u2", Ifindex: 12}
	parked     = Reservation{MAC: net.HardwareAddr{0x02, 0x4c, 172, 24, 1, 3}, IP: netip.MustParseAddr("172.24.1.3")} // no port
	homeless   = Reservation{MAC: net.HardwareAddr{0x02, 0x4c, 172, 24, 1, 4}, Ifindex: 14}                           // no address
)

func testConfig() Config {
	return Config{
		Interface: "lanyard0", NodeMAC: nodeMAC, Prefix: netip.MustParsePrefix("172.24.0.0/16"),
		Gateway: gateway, GatewayMAC: gatewayMAC, Domain: "webspace", Search: []string{"webspace", "example.org"},
		MTU: func() int { return 1450 },
	}
}

func newServer(t testing.TB, c Config) *Server {
	t.Helper()
	s, err := New(c, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if s.SetReservations([]Reservation{alice, bob, parked, homeless}); len(s.Problems()) != 0 {
		t.Fatal(s.Problems())
	}
	return s
}

// client is one message on its way, with every field free to lie.
type client struct {
	srcMAC, dstMAC net.HardwareAddr
	src, dst       netip.Addr
	chaddr         net.HardwareAddr
	kind           dhcpv4.MessageType
	ciaddr, giaddr string
	requested      string
	server         string
	flags          uint16
	options        []dhcpv4.Option
	op             dhcpv4.OpcodeType
	hwtype         iana.HWType
	mangle         func([]byte) []byte // the message
	mangleFrame    func([]byte) []byte
}

func (c client) frame() []byte {
	or := func(s, d string) net.IP {
		if s == "" {
			s = d
		}
		return net.ParseIP(s).To4()
	}
	if c.chaddr == nil {
		c.chaddr = c.srcMAC
	}
	if c.dstMAC == nil {
		c.dstMAC = nodeMAC
	}
	if !c.src.IsValid() {
		c.src = anyIPv4
	}
	if !c.dst.IsValid() {
		c.dst = everyone
	}
	if c.op == 0 {
		c.op = dhcpv4.OpcodeBootRequest
	}
	if c.hwtype == 0 {
		c.hwtype = iana.HWTypeEthernet
	}
	m := &dhcpv4.DHCPv4{OpCode: c.op, HWType: c.hwtype, TransactionID: dhcpv4.TransactionID{1, 2, 3, 4}, Flags: c.flags,
		ClientIPAddr: or(c.ciaddr, "0.0.0.0"), YourIPAddr: or("", "0.0.0.0"), ServerIPAddr: or("", "0.0.0.0"),
		GatewayIPAddr: or(c.giaddr, "0.0.0.0"), ClientHWAddr: c.chaddr, Options: dhcpv4.Options{}}
	if c.kind != 0 {
		m.UpdateOption(dhcpv4.OptMessageType(c.kind))
	}
	if c.requested != "" {
		m.UpdateOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(c.requested)))
	}
	if c.server != "" {
		m.UpdateOption(dhcpv4.OptServerIdentifier(net.ParseIP(c.server)))
	}
	for _, o := range c.options {
		m.UpdateOption(o)
	}
	b := m.ToBytes()
	if c.mangle != nil {
		b = c.mangle(b)
	}
	f := buildFrame([6]byte(c.srcMAC), [6]byte(c.dstMAC), c.src, c.dst, b)
	binary.BigEndian.PutUint16(f[etherLen+ipMinLen:], portClient)
	binary.BigEndian.PutUint16(f[etherLen+ipMinLen+2:], portServer)
	if c.mangleFrame != nil {
		f = c.mangleFrame(f)
	}
	return f
}

const (
	discover = dhcpv4.MessageTypeDiscover
	ask      = dhcpv4.MessageTypeRequest
	inform   = dhcpv4.MessageTypeInform
)

func TestServe(t *testing.T) {
	withEnd := func(end byte) func([]byte) []byte {
		return func(b []byte) []byte { // 300 octets of BOOTP whose options never end, or end at once
			b = append(bytes.Clone(b[:offsetMagic+4]), 53, 1, byte(discover))
			for len(b) < 300 {
				b = append(b, end)
			}
			return b
		}
	}
	overload := func(field int, options ...byte) func([]byte) []byte {
		return func(b []byte) []byte {
			copy(b[field:], options)
			return b
		}
	}
	tests := []struct {
		name string
		in   client
		kind string // "" = no answer
		drop Drop
		to   string // IP destination
		yi   string
	}{
		{"discover", client{srcMAC: alice.MAC, kind: discover}, "offer", "", "172.24.1.1", "172.24.1.1"},
		{"discover, broadcast flag", client{srcMAC: alice.MAC, kind: discover, flags: 0x8000}, "offer", "", "255.255.255.255", "172.24.1.1"},
		{"discover, wishes another address", client{srcMAC: alice.MAC, kind: discover, requested: "172.24.1.2"}, "offer", "", "172.24.1.1", "172.24.1.1"},
		{"discover, a foreign client id", client{srcMAC: alice.MAC, kind: discover,
			options: []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionClientIdentifier, append([]byte{1}, bob.MAC...))}}, "offer", "", "172.24.1.1", "172.24.1.1"},
		{"selecting", client{srcMAC: alice.MAC, kind: ask, server: "172.24.254.1", requested: "172.24.1.1"}, "ack", "", "172.24.1.1", "172.24.1.1"},
		{"selecting, wrong address", client{srcMAC: alice.MAC, kind: ask, server: "172.24.254.1", requested: "172.24.1.2"}, "nak", "", "255.255.255.255", "0.0.0.0"},
		{"selecting, other server", client{srcMAC: alice.MAC, kind: ask, server: "172.24.9.9", requested: "172.24.1.1"}, "", DropOtherServer, "", ""},
		{"selecting, no address", client{srcMAC: alice.MAC, kind: ask, server: "172.24.254.1"}, "", DropMalformed, "", ""},
		{"init-reboot", client{srcMAC: alice.MAC, kind: ask, requested: "172.24.1.1"}, "ack", "", "172.24.1.1", "172.24.1.1"},
		{"init-reboot, address of the neighbour", client{srcMAC: alice.MAC, kind: ask, requested: "172.24.1.2"}, "nak", "", "255.255.255.255", "0.0.0.0"},
		{"init-reboot, address of another network", client{srcMAC: alice.MAC, kind: ask, requested: "192.168.1.7"}, "nak", "", "255.255.255.255", "0.0.0.0"},
		{"renewing", client{srcMAC: alice.MAC, kind: ask, ciaddr: "172.24.1.1", src: alice.IP, dst: gateway}, "ack", "", "172.24.1.1", "172.24.1.1"},
		{"renewing, broadcast flag is moot", client{srcMAC: alice.MAC, kind: ask, ciaddr: "172.24.1.1", src: alice.IP, dst: gateway, flags: 0x8000}, "ack", "", "172.24.1.1", "172.24.1.1"},
		{"rebinding", client{srcMAC: alice.MAC, kind: ask, ciaddr: "172.24.1.1", src: alice.IP}, "ack", "", "172.24.1.1", "172.24.1.1"},
		{"renewing a changed address", client{srcMAC: alice.MAC, kind: ask, ciaddr: "172.24.7.7", src: netip.MustParseAddr("172.24.7.7"), dst: gateway}, "nak", "", "255.255.255.255", "0.0.0.0"},
		{"renewing, contradictory", client{srcMAC: alice.MAC, kind: ask, ciaddr: "172.24.1.1", requested: "172.24.1.2", src: alice.IP}, "nak", "", "255.255.255.255", "0.0.0.0"},
		{"request for nothing", client{srcMAC: alice.MAC, kind: ask}, "", DropMalformed, "", ""},
		{"release", client{srcMAC: alice.MAC, kind: dhcpv4.MessageTypeRelease, ciaddr: "172.24.1.1", src: alice.IP, dst: gateway, server: "172.24.254.1"}, "", "", "", ""},
		{"decline", client{srcMAC: alice.MAC, kind: dhcpv4.MessageTypeDecline, requested: "172.24.1.1", server: "172.24.254.1"}, "", "", "", ""},
		{"decline to another server", client{srcMAC: alice.MAC, kind: dhcpv4.MessageTypeDecline, requested: "172.24.1.1", server: "172.24.9.9"}, "", DropOtherServer, "", ""},
		{"inform", client{srcMAC: alice.MAC, kind: inform, ciaddr: "172.24.1.1", src: alice.IP, dst: gateway}, "ack", "", "172.24.1.1", "0.0.0.0"},
		{"inform for the neighbour", client{srcMAC: alice.MAC, kind: inform, ciaddr: "172.24.1.2", src: alice.IP}, "", DropIdentity, "", ""},

		{"unknown MAC, discover", client{srcMAC: net.HardwareAddr{2, 9, 9, 9, 9, 9}, kind: discover}, "", DropUnknown, "", ""},
		{"unknown MAC, init-reboot", client{srcMAC: net.HardwareAddr{2, 9, 9, 9, 9, 9}, kind: ask, requested: "172.24.1.1"}, "", DropUnknown, "", ""},
		{"port without an address, discover", client{srcMAC: homeless.MAC, kind: discover}, "", DropUnknown, "", ""},
		{"port without an address, init-reboot", client{srcMAC: homeless.MAC, kind: ask, requested: "172.24.1.9"}, "nak", "", "255.255.255.255", "0.0.0.0"},
		{"webspace without a port", client{srcMAC: parked.MAC, kind: discover}, "", DropNoPort, "", ""},
		{"chaddr of the neighbour", client{srcMAC: alice.MAC, chaddr: bob.MAC, kind: discover}, "", DropIdentity, "", ""},
		{"source address of the neighbour", client{srcMAC: alice.MAC, kind: discover, src: bob.IP}, "", DropIdentity, "", ""},
		{"through a relay", client{srcMAC: alice.MAC, kind: discover, giaddr: "172.24.1.1"}, "", DropRelay, "", ""},
		{"to another host", client{srcMAC: alice.MAC, kind: discover, dst: bob.IP}, "", DropOtherServer, "", ""},
		{"flooded, not redirected", client{srcMAC: alice.MAC, dstMAC: broadcastMAC[:], kind: discover}, "", DropNotOurs, "", ""},
		{"an answer", client{srcMAC: alice.MAC, kind: dhcpv4.MessageTypeOffer}, "", DropMalformed, "", ""},
		{"a reply opcode", client{srcMAC: alice.MAC, kind: discover, op: dhcpv4.OpcodeBootReply}, "", DropMalformed, "", ""},
		{"a lease query", client{srcMAC: alice.MAC, kind: 10}, "", DropMalformed, "", ""},
		{"plain BOOTP", client{srcMAC: alice.MAC}, "", DropMalformed, "", ""},
		{"token ring", client{srcMAC: alice.MAC, kind: discover, hwtype: 6}, "", DropMalformed, "", ""},
		{"short chaddr", client{srcMAC: alice.MAC, chaddr: alice.MAC[:4], kind: discover}, "", DropMalformed, "", ""},

		{"no end option", client{srcMAC: alice.MAC, mangle: withEnd(0)}, "offer", "", "172.24.1.1", "172.24.1.1"},
		{"padded with end", client{srcMAC: alice.MAC, mangle: withEnd(255)}, "offer", "", "172.24.1.1", "172.24.1.1"},
		{"unpadded", client{srcMAC: alice.MAC, mangle: func(b []byte) []byte {
			return append(bytes.Clone(b[:offsetMagic+4]), 53, 1, byte(discover), 255)
		}}, "offer", "", "172.24.1.1", "172.24.1.1"},
		{"type in the file field", client{srcMAC: alice.MAC, mangle: overload(offsetFile, 53, 1, byte(discover), 255),
			options: []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionOptionOverload, []byte{1})}}, "offer", "", "172.24.1.1", "172.24.1.1"},
		{"type in the sname field", client{srcMAC: alice.MAC, mangle: overload(offsetSname, 0, 0, 53, 1, byte(discover)),
			options: []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionOptionOverload, []byte{2})}}, "offer", "", "172.24.1.1", "172.24.1.1"},
		{"overload of neither", client{srcMAC: alice.MAC, kind: discover,
			options: []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionOptionOverload, []byte{4})}}, "", DropMalformed, "", ""},
		{"overlong file option", client{srcMAC: alice.MAC, mangle: overload(offsetFile, 53, 200),
			options: []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionOptionOverload, []byte{1})}}, "", DropMalformed, "", ""},
		{"requested address of three octets", client{srcMAC: alice.MAC, kind: ask,
			options: []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionRequestedIPAddress, []byte{172, 24, 1})}}, "", DropMalformed, "", ""},
		{"requested address twice", client{srcMAC: alice.MAC, kind: ask,
			options: []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionRequestedIPAddress, []byte{172, 24, 1, 1, 172, 24, 1, 2})}}, "", DropMalformed, "", ""},
		{"giant client id", client{srcMAC: alice.MAC, kind: discover,
			options: []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionClientIdentifier, make([]byte, 600))}}, "", DropMalformed, "", ""},
		{"wrong cookie", client{srcMAC: alice.MAC, kind: discover, mangle: func(b []byte) []byte { b[offsetMagic]++; return b }}, "", DropMalformed, "", ""},
		{"half a header", client{srcMAC: alice.MAC, kind: discover, mangle: func(b []byte) []byte { return b[:100] }}, "", DropShort, "", ""},
		{"wrong IP checksum", client{srcMAC: alice.MAC, kind: discover, mangleFrame: func(f []byte) []byte { f[24]++; return f }}, "", DropMalformed, "", ""},
		{"cut frame", client{srcMAC: alice.MAC, kind: discover, mangleFrame: func(f []byte) []byte { return f[:60] }}, "", DropShort, "", ""},
		{"padded frame", client{srcMAC: alice.MAC, kind: discover, mangleFrame: func(f []byte) []byte { return append(f, 1, 2, 3) }}, "offer", "", "172.24.1.1", "172.24.1.1"},
		{"ARP", client{srcMAC: alice.MAC, kind: discover, mangleFrame: func(f []byte) []byte { f[13] = 6; return f }}, "", DropNotDHCP, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t, testConfig())
			in := test.in.frame()
			a := s.serve(*s.table.Load(), in, time.Now())
			if a.drop != test.drop || a.kind != test.kind && a.drop == "" {
				t.Fatalf("got %q, drop %q; want %q, drop %q", a.kind, a.drop, test.kind, test.drop)
			}
			if (a.frame != nil) != (test.kind != "") {
				t.Fatalf("answered: %v", a.frame != nil)
			}
			if a.frame == nil {
				return
			}
			to, reply := decode(t, a.frame)
			if to.String() != test.to || reply.YourIPAddr.String() != test.yi {
				t.Errorf("to %v with yiaddr %v; want %v, %v", to, reply.YourIPAddr, test.to, test.yi)
			}
			checkAnswer(t, s, in, a)
		})
	}
}

// decode reads an answer and checks its headers and checksums.
func decode(t testing.TB, f []byte) (netip.Addr, *dhcpv4.DHCPv4) {
	t.Helper()
	ip := f[etherLen:]
	if checksum(0, ip[:ipMinLen]) != 0 || int(binary.BigEndian.Uint16(ip[2:])) != len(ip) {
		t.Fatal("bad IP header")
	}
	udp := ip[ipMinLen:]
	if checksum(uint32(protoUDP)+uint32(len(udp))+sum16(ip[12:20]), udp) != 0 {
		t.Fatal("bad UDP checksum")
	}
	if binary.BigEndian.Uint16(udp) != portServer || binary.BigEndian.Uint16(udp[2:]) != portClient {
		t.Fatal("bad ports")
	}
	if len(udp)-udpLen < 300 || len(udp)-udpLen > maxMessage {
		t.Fatalf("a message of %d octets", len(udp)-udpLen)
	}
	m, err := dhcpv4.FromBytes(udp[udpLen:])
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrFrom4([4]byte(ip[16:20])), m
}

// checkAnswer holds for every answer to any bytes: it belongs to the sender of the request and to nobody else.
func checkAnswer(t testing.TB, s *Server, in []byte, a answer) {
	t.Helper()
	sender := (*s.table.Load())[[6]byte(in[6:12])]
	if sender == nil {
		t.Fatal("answered somebody without a reservation")
	}
	if a.ifindex != sender.Ifindex || a.ifindex == 0 {
		t.Fatalf("answered by interface %d instead of %d", a.ifindex, sender.Ifindex)
	}
	to, m := decode(t, a.frame)
	if dst := [6]byte(a.frame[:6]); dst != sender.mac && dst != broadcastMAC {
		t.Fatalf("answered to %x", dst)
	}
	if !bytes.Equal(a.frame[6:12], gatewayMAC) || !bytes.Equal(a.frame[26:30], gateway.AsSlice()) {
		t.Fatal("the answer is not from the gateway")
	}
	if to != everyone && to != sender.IP {
		t.Fatalf("answered to %v", to)
	}
	if !bytes.Equal(m.ClientHWAddr, sender.mac[:]) {
		t.Fatalf("answered for %v", m.ClientHWAddr)
	}
	for _, ip := range []net.IP{m.YourIPAddr, m.ClientIPAddr} {
		if got := address(ip); got != anyIPv4 && got != sender.IP {
			t.Fatalf("gave %v to the holder of %v", got, sender.IP)
		}
	}
	if !m.ServerIPAddr.IsUnspecified() || !m.GatewayIPAddr.IsUnspecified() || !m.ServerIdentifier().Equal(gateway.AsSlice()) {
		t.Fatal("wrong server fields")
	}
	lease := m.Options.Has(dhcpv4.OptionIPAddressLeaseTime)
	if ack := m.MessageType() == dhcpv4.MessageTypeAck || m.MessageType() == dhcpv4.MessageTypeOffer; ack {
		if lease == m.YourIPAddr.IsUnspecified() {
			t.Fatal("a lease goes with an address")
		}
	} else if lease || m.MessageType() != dhcpv4.MessageTypeNak {
		t.Fatalf("%v with a lease", m.MessageType())
	}
}

func TestOptions(t *testing.T) {
	s := newServer(t, testConfig())
	id := append([]byte{255}, "any id"...)
	in := client{srcMAC: alice.MAC, kind: discover, options: []dhcpv4.Option{
		dhcpv4.OptGeneric(dhcpv4.OptionClientIdentifier, id), dhcpv4.OptParameterRequestList(dhcpv4.OptionHostName, dhcpv4.OptionBroadcastAddress, dhcpv4.OptionDNSDomainSearchList)}}
	_, m := decode(t, s.serve(*s.table.Load(), in.frame(), time.Now()).frame)
	want := map[dhcpv4.OptionCode][]byte{
		dhcpv4.OptionSubnetMask:          {255, 255, 0, 0},
		dhcpv4.OptionRouter:              {172, 24, 254, 1},
		dhcpv4.OptionDomainNameServer:    {172, 24, 254, 1},
		dhcpv4.OptionHostName:            []byte("ws-u1"),
		dhcpv4.OptionDomainName:          []byte("webspace"),
		dhcpv4.OptionInterfaceMTU:        {1450 >> 8, 1450 & 255},
		dhcpv4.OptionBroadcastAddress:    {172, 24, 255, 255},
		dhcpv4.OptionIPAddressLeaseTime:  {0, 0, 7200 >> 8, 7200 & 255},
		dhcpv4.OptionDHCPMessageType:     {2},
		dhcpv4.OptionServerIdentifier:    {172, 24, 254, 1},
		dhcpv4.OptionRenewTimeValue:      {0, 0, 3600 >> 8, 3600 & 255},
		dhcpv4.OptionRebindingTimeValue:  {0, 0, 6300 >> 8, 6300 & 255},
		dhcpv4.OptionClientIdentifier:    id,
		dhcpv4.OptionDNSDomainSearchList: []byte("\x08webspace\x00\x07example\x03org\x00"),
	}
	for code, value := range want {
		if !bytes.Equal(m.Options.Get(code), value) {
			t.Errorf("option %v: %v, want %v", code, m.Options.Get(code), value)
		}
	}
	if len(m.Options) != len(want) {
		t.Errorf("%d options, want %d: %v", len(m.Options), len(want), m.Options)
	}
	in.options = nil
	_, m = decode(t, s.serve(*s.table.Load(), in.frame(), time.Now()).frame)
	if m.Options.Has(dhcpv4.OptionHostName) || m.Options.Has(dhcpv4.OptionDNSDomainSearchList) {
		t.Error("options that nobody asked for")
	}
}

// The biggest client id and the longest optional options still fit the smallest datagram that every client accepts.
func TestOptionsFit(t *testing.T) {
	c := testConfig()
	c.Search = []string{string(bytes.Repeat([]byte("a"), 63)) + "." + string(bytes.Repeat([]byte("b"), 63)) + "." + string(bytes.Repeat([]byte("c"), 63))}
	s := newServer(t, c)
	in := client{srcMAC: alice.MAC, kind: discover, options: []dhcpv4.Option{
		dhcpv4.OptGeneric(dhcpv4.OptionClientIdentifier, make([]byte, 200)), dhcpv4.OptParameterRequestList(dhcpv4.OptionDNSDomainSearchList, dhcpv4.OptionHostName)}}
	_, m := decode(t, s.serve(*s.table.Load(), in.frame(), time.Now()).frame)
	if m.Options.Has(dhcpv4.OptionDNSDomainSearchList) || !m.Options.Has(dhcpv4.OptionHostName) {
		t.Error("the search list should have been left out, the host name not")
	}
}

func TestRateLimitIsPerPort(t *testing.T) {
	s := newServer(t, testConfig())
	now := time.Now()
	in := client{srcMAC: alice.MAC, kind: discover}.frame()
	answered := 0
	for range 1000 {
		if a := s.serve(*s.table.Load(), in, now); a.drop == "" {
			answered++
		} else if a.drop != DropRateLimit {
			t.Fatal(a.drop)
		}
	}
	if answered != limitBurst {
		t.Errorf("%d answers at once, want %d", answered, limitBurst)
	}
	s.SetReservations([]Reservation{alice, bob}) // a resync is no way round it
	if a := s.serve(*s.table.Load(), in, now); a.drop != DropRateLimit {
		t.Error("a new table forgot the limit")
	}
	if a := s.serve(*s.table.Load(), client{srcMAC: bob.MAC, kind: discover}.frame(), now); a.drop != "" {
		t.Error("the neighbour was limited:", a.drop)
	}
	if a := s.serve(*s.table.Load(), in, now.Add(time.Second)); a.drop != "" {
		t.Error("still limited a second later")
	}
}

func TestBadReservations(t *testing.T) {
	s := newServer(t, testConfig())
	twice := alice
	twice.IP = netip.MustParseAddr("172.24.1.77")
	same := bob
	same.MAC = net.HardwareAddr{2, 1, 1, 1, 1, 1}
	outside := Reservation{MAC: net.HardwareAddr{2, 1, 1, 1, 1, 2}, IP: netip.MustParseAddr("10.0.0.1"), Ifindex: 3}
	group := Reservation{MAC: net.HardwareAddr{1, 1, 1, 1, 1, 2}, IP: netip.MustParseAddr("172.24.1.9"), Ifindex: 3}
	s.SetReservations([]Reservation{alice, twice, bob, same, outside, group, {}})
	bad := s.Problems()
	if len(bad) != 5 || s.Reservations() != 2 {
		t.Errorf("%d bad, %d good: %v", len(bad), s.Reservations(), bad)
	}
	evil := alice
	evil.Hostname = "a\nb"
	s.SetReservations([]Reservation{evil})
	if (*s.table.Load())[[6]byte(alice.MAC)].Hostname != "" {
		t.Error("a bad host name is served")
	}
}
