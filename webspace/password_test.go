package webspace

import (
	"strings"
	"testing"
	"time"
)

// From Drepper's specification, and from openssl passwd -6.
func TestSHA512Crypt(t *testing.T) {
	for _, c := range []struct{ key, salt, want string }{
		{"Hello world!", "saltstring", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"},
		{`a"; touch /pwned; $(id) 'äöü`, "0123456789abcdef", "$6$0123456789abcdef$SWx.Bg3wfiJ7qv96hUK0ksbYDDD9OhZ9lSNdMVtRi36wCVpSPidd3vyuOF/SclXPkUYV/xTr7g/Xqr0WoYfel/"},
		{strings.Repeat("y", 70), "x", "$6$x$vCcLdUpLlRLM/Cb/PT5opMIMdzfVLe8iKUiE6rYswBpQMHXVYA/Jt.kWJiXMTwW5FCpVrWydgO.GqlWY9Ikou/"},
	} {
		if got := sha512Crypt([]byte(c.key), c.salt); got != c.want {
			t.Errorf("%q, %q: %s, want %s", c.key, c.salt, got, c.want)
		}
	}
}

func TestWithPassword(t *testing.T) {
	now := time.Unix(20000*86400, 0)
	for old, want := range map[string]string{
		"root:*:1:0:99999:7:::\nbin:*:1::::::\n": "root:H:20000:0:99999:7:::\nbin:*:1::::::\n",
		"bin:*:1::::::\nroot:!:1:0:99999:7:::":   "bin:*:1::::::\nroot:H:20000:0:99999:7:::\n",
		"rooty:*:1::::::\n":                      "root:H:20000:0:99999:7:::\nrooty:*:1::::::\n",
		"":                                       "root:H:20000:0:99999:7:::\n",
	} {
		if got := string(withPassword([]byte(old), "H", now)); got != want {
			t.Errorf("%q became %q, want %q", old, got, want)
		}
	}
}

func TestCheckPassword(t *testing.T) {
	for in, want := range map[string]string{"hunter2\n": "hunter2", "hunter2\r\n": "hunter2", `a"; touch /pwned; $(id) '`: `a"; touch /pwned; $(id) '`, "": ""} {
		if got, err := checkPassword(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"a\nb", "a\x00b", "a\n\n", strings.Repeat("x", 513)} {
		if _, err := checkPassword(in); err == nil {
			t.Errorf("%q was taken", in)
		}
	}
}
