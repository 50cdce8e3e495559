package webspace

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

const shadowFile = "/etc/shadow"

// SetPassword sets the password of root, in a webspace that runs or does not. No program of the webspace is run and no
// shell sees the password: its hash is written into /etc/shadow, in the form that glibc, musl and busybox know.
func (s *Store) SetPassword(ctx context.Context, name, password string) error {
	f, err := s.files(ctx, name)
	if err != nil {
		return err
	}
	defer f.close()
	old, info, err := f.read(shadowFile, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return &Problem{What: "could not set the password of webspace " + name, Cause: "its image has no " + shadowFile, Next: "choose another image, or create without a password", Kind: ErrInvalid, Err: err}
	}
	if err != nil {
		return err
	}
	salt, err := newSalt()
	if err != nil {
		return err
	}
	return f.write(shadowFile, info, bytes.NewReader(withPassword(old, sha512Crypt([]byte(password), salt), time.Now())))
}

// withPassword replaces the hash of root in a shadow file, and says when it was changed (shadow(5)).
func withPassword(shadow []byte, hash string, now time.Time) []byte {
	day := fmt.Sprint(now.Unix() / 86400)
	lines := strings.Split(strings.TrimSuffix(string(shadow), "\n"), "\n")
	found := false
	for k, line := range lines {
		fields := strings.Split(line, ":")
		if fields[0] != "root" || len(fields) < 2 {
			continue
		}
		found = true
		if fields[1] = hash; len(fields) > 2 {
			fields[2] = day
		}
		lines[k] = strings.Join(fields, ":")
	}
	if !found {
		lines = append([]string{"root:" + hash + ":" + day + ":0:99999:7:::"}, lines...)
	}
	return []byte(strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n")
}

// crypt64 is the alphabet of crypt(3), lowest bits first.
const crypt64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func newSalt() (string, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	for k := range b {
		b[k] = crypt64[b[k]&63]
	}
	return string(b), nil
}

// sha512Crypt is the "$6$" scheme of crypt(3) with its default of 5000 rounds, after Drepper's specification ("Unix crypt
// using SHA-256 and SHA-512", 2007-2016). salt has at most 16 characters.
func sha512Crypt(key []byte, salt string) string {
	sum := func(parts ...[]byte) []byte {
		h := sha512.New()
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	s := []byte(salt)
	b := sum(key, s, key)
	h := sha512.New()
	h.Write(key)
	h.Write(s)
	h.Write(repeat(b, len(key)))
	for n := len(key); n > 0; n >>= 1 {
		if n&1 != 0 {
			h.Write(b)
		} else {
			h.Write(key)
		}
	}
	a := h.Sum(nil)
	p := repeat(sum(bytes.Repeat(key, len(key))), len(key))
	q := repeat(sum(bytes.Repeat(s, 16+int(a[0]))), len(s))
	for round := range 5000 {
		h := sha512.New()
		if round&1 != 0 {
			h.Write(p)
		} else {
			h.Write(a)
		}
		if round%3 != 0 {
			h.Write(q)
		}
		if round%7 != 0 {
			h.Write(p)
		}
		if round&1 != 0 {
			h.Write(a)
		} else {
			h.Write(p)
		}
		a = h.Sum(nil)
	}
	var out strings.Builder
	out.WriteString("$6$" + salt + "$")
	put := func(v uint32, n int) {
		for range n {
			out.WriteByte(crypt64[v&63])
			v >>= 6
		}
	}
	for i, j, k := 0, 21, 42; i < 63; { // three bytes to four characters, in the specification's order
		put(uint32(a[i])<<16|uint32(a[j])<<8|uint32(a[k]), 4)
		i, j, k = j+1, k+1, i+1
		if i == 63 || j == 63 || k == 63 {
			break
		}
	}
	put(uint32(a[63]), 2)
	return out.String()
}

// repeat fills n bytes with a block.
func repeat(block []byte, n int) []byte {
	return bytes.Repeat(block, n/len(block)+1)[:n]
}
