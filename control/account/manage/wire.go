package manage

import (
	"errors"

	"github.com/lanyard-project/lanyard/control/account"
)

// DefaultSocket is where the daemon serves its accounts to root.
const DefaultSocket = "/run/lanyard/accounts.sock"

const pathAccounts = "/accounts"

// problem is an error on the socket (RFC 9457, with code and next).
type problem struct {
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Next   string `json:"next,omitempty"`
}

// codes are stable names of the kinds of errors that this socket can give.
var codes = []struct {
	code   string
	status int
	kind   error
}{
	{"account-invalid", 400, account.ErrInvalid},
	{"account-not-found", 404, account.ErrNotFound},
	{"account-exists", 409, account.ErrExists},
	{"accounts-unavailable", 503, account.ErrUnavailable},
}

// Code is the stable code of an error of this package.
func Code(err error) string {
	code, _ := codeOf(err)
	return code
}

func codeOf(err error) (code string, status int) {
	for _, c := range codes {
		if errors.Is(err, c.kind) {
			return c.code, c.status
		}
	}
	return "internal", 500
}
