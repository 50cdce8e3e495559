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

// checkOnly runs a case that is judged by its verdict, its target and its Check alone.
func checkOnly(t *testing.T, w *World, c Case) {
	t.Helper()
	c.AnyOut = true
	c.Run(t, w)
}
