package account

import (
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"
)

const maxKey = 16 << 10 // octets; an RSA key of 16384 bits takes 2.8 KiB

// CheckKey reads one public key as in authorized_keys, and gives it back as kind, key and comment. Options are refused:
// they are commands to sshd, and none of the member's business in a directory of keys.
func CheckKey(line string) (string, error) {
	bad := func(cause string) (string, error) {
		return "", &Error{What: "cannot use this SSH key", Cause: cause, Kind: ErrInvalid,
			Next: "give one line of a public key, such as ~/.ssh/id_ed25519.pub"}
	}
	line = strings.TrimSpace(line)
	if len(line) > maxKey || strings.ContainsFunc(line, unicode.IsControl) {
		return bad("it is no single line of at most 16 KiB")
	}
	key, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	switch {
	case err != nil:
		return bad("it is not in the form of authorized_keys")
	case len(options) > 0:
		return bad("it begins with options")
	}
	out := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	if comment = strings.ToValidUTF8(comment, ""); comment != "" {
		out += " " + comment
	}
	return out, nil
}

// GoodKeys are those of the lines that CheckKey accepts; a directory's bad one must not keep a member out.
func GoodKeys(lines ...string) []string {
	var out []string
	for _, l := range lines {
		if key, err := CheckKey(l); err == nil {
			out = append(out, key)
		}
	}
	return out
}
