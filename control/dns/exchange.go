package dns

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// question is what is asked upstream.
type question struct {
	key   string
	name  []byte // wire form, lower case
	qtype uint16
	do    bool
	cd    bool
}

// newQuestion takes a key of query.key apart.
func newQuestion(key string) *question {
	n := len(key) - 3
	return &question{key: key, name: []byte(key[:n]), qtype: uint16(key[n])<<8 | uint16(key[n+1]),
		do: key[n+2]&keyDO != 0, cd: key[n+2]&keyCD != 0}
}

var (
	errTruncated = errors.New("the answer was cut off")
	errForged    = errors.New("messages came that are no answers to the question")
	errNoEDNS    = errors.New("it does not know EDNS")
	errFrame     = errors.New("a message of an impossible length")
)

// forgedMost is how many wrong messages are ignored before the question is asked by TCP, where nobody can guess.
const forgedMost = 16

// message packs the question with a new id. With mixed, each letter of the name is upper or lower case by chance, which
// an answer must repeat: bits that a forger has to guess besides id and port.
func (q *question) message(mixed, edns bool) []byte {
	b := make([]byte, headerLen, headerLen+len(q.name)+4+optLen)
	var chance [2 + maxName/8 + 1]byte
	_, _ = rand.Read(chance[:]) // never fails
	copy(b, chance[:2])
	flags := uint16(flagRD)
	if q.cd {
		flags |= flagCD
	}
	binary.BigEndian.PutUint16(b[2:], flags)
	b[5] = 1
	b = append(b, q.name...)
	if mixed {
		for i, c := range b[headerLen:] {
			if c-'a' < 26 && chance[2+i/8]>>(i%8)&1 != 0 {
				b[headerLen+i] = c - 0x20 // a length octet is at most 63 and never looks like a letter
			}
		}
	}
	b = binary.BigEndian.AppendUint16(b, q.qtype)
	b = binary.BigEndian.AppendUint16(b, classIN)
	if edns {
		b[11] = 1
		do := byte(0)
		if q.do {
			do = ednsDO >> 8
		}
		b = append(b, 0, 0, typeOPT, safeUDP>>8, safeUDP&0xff, 0, 0, do, 0, 0, 0)
	}
	return b
}

// fits says whether a message answers what was sent: id, bit, and the question to the letter.
func fits(sent, got []byte) error {
	if len(got) < headerLen || got[0] != sent[0] || got[1] != sent[1] || got[2]&0x80 == 0 || got[2]&0x78 != 0 {
		return errForged
	}
	code := got[3] & 0xf
	if binary.BigEndian.Uint16(got[4:]) == 0 && (code == byte(rcodeFormat) || code == byte(rcodeNotImpl)) && sent[11] == 1 {
		return errNoEDNS
	}
	end, ok := skipName(sent, headerLen)
	if end += 4; !ok || binary.BigEndian.Uint16(got[4:]) != 1 || len(got) < end || !bytes.Equal(sent[headerLen:end], got[headerLen:end]) {
		return errForged
	}
	if got[2]&(flagTC>>8) != 0 {
		return errTruncated
	}
	if code == byte(rcodeFormat) && sent[11] == 1 && binary.BigEndian.Uint16(got[10:]) == 0 {
		return errNoEDNS
	}
	return nil
}

// exchange asks an upstream, by UDP and where that does not do by TCP, or by TLS. The answer fits the question.
func (u *upstream) exchange(ctx context.Context, q *question) ([]byte, error) {
	u.asked.Add(1)
	if u.TLS {
		return u.overTLS(ctx, q.message(false, true))
	}
	got, err := u.overUDP(ctx, q.message(true, true))
	if errors.Is(err, errNoEDNS) {
		got, err = u.overUDP(ctx, q.message(true, false))
	}
	if errors.Is(err, errTruncated) || errors.Is(err, errForged) {
		u.again.Add(1)
		return u.overTCP(ctx, q.message(false, true))
	}
	return got, err
}

// overUDP asks from a socket of its own: the kernel chooses its port by chance, and lets only the upstream's address in.
func (u *upstream) overUDP(ctx context.Context, sent []byte) ([]byte, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", u.Addr.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := bound(ctx, c)
	defer stop()
	if _, err := c.Write(sent); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for range forgedMost {
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		if err := fits(sent, buf[:n]); errors.Is(err, errForged) {
			u.forged.Add(1)
			continue
		} else if err != nil {
			return nil, err
		}
		return buf[:n], nil
	}
	return nil, errForged
}

// bound makes the end of ctx the end of every wait on c.
func bound(ctx context.Context, c net.Conn) (stop func()) {
	if t, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(t)
	}
	end := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return func() { end() }
}

func (u *upstream) overTCP(ctx context.Context, sent []byte) ([]byte, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", u.Addr.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := bound(ctx, c)
	defer stop()
	return talk(c, sent)
}

// talk sends one framed message and reads its answer (RFC 7766, section 8).
func talk(c net.Conn, sent []byte) ([]byte, error) {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(sent)), uint16(len(sent)))
	if _, err := c.Write(append(framed, sent...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n < headerLen {
		return nil, errFrame
	}
	got := make([]byte, n)
	if _, err := io.ReadFull(c, got); err != nil {
		return nil, err
	}
	if err := fits(sent, got); err != nil {
		return nil, fmt.Errorf("by TCP: %w", err)
	}
	return got, nil
}
