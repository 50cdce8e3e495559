package dhcp

import (
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// FuzzServe throws frames at the server: it never panics, and an answer always belongs to the MAC that asked.
func FuzzServe(f *testing.F) {
	for _, c := range []client{
		{srcMAC: alice.MAC, kind: discover},
		{srcMAC: alice.MAC, kind: ask, requested: "172.24.1.2"},
		{srcMAC: alice.MAC, kind: ask, ciaddr: "172.24.1.1", src: alice.IP, dst: gateway},
		{srcMAC: bob.MAC, kind: inform, ciaddr: "172.24.1.2", src: bob.IP},
		{srcMAC: homeless.MAC, kind: ask, requested: "172.24.1.2"},
		{srcMAC: alice.MAC, kind: discover, flags: 0xffff, options: []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionOptionOverload, []byte{3})}},
		{srcMAC: alice.MAC, kind: discover, options: []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionClientIdentifier, make([]byte, maxClientID))}},
	} {
		f.Add(c.frame())
	}
	s := newServer(f, testConfig())
	now := time.Now()
	f.Fuzz(func(t *testing.T, frame []byte) {
		now = now.Add(time.Second) // the rate limit is not what is tested
		if a := s.serve(*s.table.Load(), frame, now); a.frame != nil {
			checkAnswer(t, s, frame, a)
		}
	})
}

// FuzzMessage is FuzzServe behind intact headers, so that every input reaches the decoder.
func FuzzMessage(f *testing.F) {
	f.Add(client{srcMAC: alice.MAC, kind: discover}.frame()[etherLen+ipMinLen+udpLen:])
	f.Add(client{srcMAC: alice.MAC, kind: ask, server: "172.24.254.1", requested: "172.24.1.1"}.frame()[etherLen+ipMinLen+udpLen:])
	s := newServer(f, testConfig())
	now := time.Now()
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) > 1400 {
			return
		}
		now = now.Add(time.Second)
		frame := client{srcMAC: alice.MAC, mangle: func([]byte) []byte { return message }}.frame()
		if a := s.serve(*s.table.Load(), frame, now); a.frame != nil {
			checkAnswer(t, s, frame, a)
		}
	})
}
