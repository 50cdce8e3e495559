package bpf_test

import (
	"bytes"
	"fmt"
	"testing"

	. "github.com/lanyard-project/lanyard/bpf/packettest"
)

// sameError compares an ICMP error that a program made with what it should be. Free are its TTL, TOS, identification
// and how much it quotes beyond the first 8 bytes of the transport header (RFC 792, RFC 1812 section 4.3.2.3).
func sameError(got, want, quoted []byte) error {
	const header = AtL4 + 8
	if len(got) < header+28 {
		return fmt.Errorf("%d bytes are no ICMP error: %s", len(got), Describe(got))
	}
	if len(got) > 14+576 {
		return fmt.Errorf("an ICMP error of %d bytes; RFC 1812 stops at 576", len(got)-14)
	}
	for _, part := range []struct {
		name     string
		from, to int
	}{
		{"Ethernet header", 0, 14}, {"protocol", AtTTL + 1, AtTTL + 2}, {"addresses", AtIPSrc, AtL4},
		{"type and code", AtL4, AtL4 + 2}, {"second word", AtL4 + 4, AtL4 + 8},
	} {
		if !bytes.Equal(got[part.from:part.to], want[part.from:part.to]) {
			return fmt.Errorf("%s is % x, want % x: %s", part.name, got[part.from:part.to], want[part.from:part.to], Describe(got))
		}
	}
	if got[AtTTL] < 32 {
		return fmt.Errorf("TTL %d", got[AtTTL])
	}
	quote := got[header:]
	if len(quote) > len(quoted) || !bytes.Equal(quote, quoted[:len(quote)]) {
		return fmt.Errorf("it quotes % x, which is not the beginning of % x", quote, quoted)
	}
	return CheckSums(got, 0)
}

// TestWireErrorsAboutTunnels: what a webspace sends through a tunnel of its own counts as encapsulated, and the kernel does not cut
// such frames. Errors about them arrive all the same, with padding behind them.
func TestWireErrorsAboutTunnels(t *testing.T) {
	w, taps := wired(t)
	for _, c := range []struct {
		name       string
		on         string
		sent       []byte
		back       *Frame
		kind, code uint8
		mtu        uint16
	}{
		{"small, TTL", w.WS1.Name, routed(w, w.Server, TTL(1)).UDP(40000, 4789).Data(inside(0)).Bytes(),
			Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Gateway.IP, w.WS1.IP), 11, 0, 0},
		{"as long as its error, TTL", w.WS1.Name, routed(w, w.Server, TTL(1)).UDP(40000, 4789).Data(inside(80)).Bytes(),
			Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Gateway.IP, w.WS1.IP), 11, 0, 0},
		{"long, TTL", w.WS1.Name, routed(w, w.Server, TTL(1)).UDP(40000, 4789).Data(inside(1300)).Bytes(),
			Ether(w.Gateway.MAC, w.WS1.MAC).IPv4(w.Gateway.IP, w.WS1.IP), 11, 0, 0},
		{"too big for a forward's target", underlay, came(w, DontFragment).UDP(40000, 5353).Data(inside(int(w.MTU) - 60)).Bytes(),
			Ether(w.UnderlayMAC, w.RouterMAC).IPv4(w.VTEP, w.Client), 3, 4, w.MTU},
	} {
		t.Run(c.name, func(t *testing.T) {
			undo, err := w.Encapsulated(c.on, [28]byte(c.sent[14:]))
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := undo(); err != nil {
					t.Error(err)
				}
			}()
			send(t, taps[c.on], append(append([]byte(nil), c.sent[:14]...), c.sent[14+28:]...), Offload{})
			got, _ := receive(t, taps[c.on])
			if total := 14 + int(got[16])<<8 + int(got[17]); total <= len(got) {
				got = got[:total]
			}
			if err := sameError(got, c.back.ICMP(c.kind, c.code, 0, c.mtu).Data(c.sent[14:]).Bytes(), c.sent[14:]); err != nil {
				t.Error(err)
			}
			if drops, err := w.TakeDrops(); err != nil || len(drops) != 0 {
				t.Errorf("counted %v %v", drops, err)
			}
		})
	}
}

// TestWireErrorsAboutSuperframes: the same of a real tunnel, of whose datagrams the kernel makes one frame.
func TestWireErrorsAboutSuperframes(t *testing.T) {
	w, taps := wired(t)
	if err := w.SendTunnelled(w.WS1, w.Gateway.MAC, w.Server, 1, 10, 1200); err != nil {
		t.Fatal(err)
	}
	got, _ := receive(t, taps[w.WS1.Name])
	total := 14 + int(got[16])<<8 + int(got[17])
	if total > len(got) {
		t.Fatalf("it is cut: %s", Describe(got))
	}
	got = got[:total]
	quoted := got[AtL4+8:]
	if v := Look(got); v.From != w.Gateway.IP || v.To != w.WS1.IP || got[AtL4] != 11 || len(quoted) < 28 {
		t.Errorf("got %s", Describe(got))
	}
	if err := CheckSums(got, 0); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(quoted[12:20], append(w.WS1.IP.AsSlice(), w.Server.AsSlice()...)) || int(quoted[2])<<8+int(quoted[3]) < 10*1200 {
		t.Errorf("it quotes % x", quoted)
	}
}

// inside is what a tunnel carries: a TCP segment with as many bytes of data, whose checksum is still to be made.
func inside(data int) []byte {
	return Partial(Ether(make([]byte, 6), make([]byte, 6)).IPv4(IP("10.0.0.1"), IP("10.0.0.2")).TCP(1, 2, "A", 0).Fill(data).Bytes())[14:]
}

// checkOnly runs a case that is judged by its verdict, its target and its Check alone.
func checkOnly(t *testing.T, w *World, c Case) {
	t.Helper()
	c.AnyOut = true
	c.Run(t, w)
}
