package admin

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/webspace"
)

// Exit codes of lanyard.
const (
	ExitOK          = cli.ExitOK
	ExitFailed      = cli.ExitFailed
	ExitUsage       = cli.ExitUsage
	ExitNo          = cli.ExitNo          // not ready, a check or a test failed
	ExitUnreachable = cli.ExitUnreachable // no lanyardd behind the socket, or it refused the caller
	ExitLogin       = cli.ExitLogin
	ExitSession     = cli.ExitSession
)

// Codes of errors beside those of the API.
const (
	CodeUsage         = "usage"
	CodeConfiguration = "configuration"
	CodeLXD           = "lxd"
)

// ExitCodes explains the codes, for the reference and the help.
var ExitCodes = []struct {
	Code int
	Text string
}{
	{ExitOK, "done, and the answer is yes"},
	{ExitFailed, "the command itself failed"},
	{ExitUsage, "wrong arguments or flags"},
	{ExitNo, "done, and the answer is no: the node is not ready, a check or a test failed"},
	{ExitUnreachable, "no lanyardd behind the socket, or it refused the caller; no server at `--server`"},
	{ExitLogin, "not logged in, or the token or password is not accepted"},
	{130, "interrupted"},
	{ExitSession, "a session (`ws exec`, `ws login`, `ws console`) failed; otherwise `ws exec` and `ws login` end with the command's own code"},
}

// errNo ends a command whose output already says what is wrong.
var errNo = errors.New("the answer is no")

// usageError marks what the caller typed wrong.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// failed makes an error in three parts.
func failed(what string, cause error, next string) error {
	return &nodeapi.Error{Code: nodeapi.CodeInternal, What: what, Cause: cause.Error(), Next: next, Err: cause}
}

// Report prints err on stderr, as JSON if asJSON, and gives the exit code.
func Report(s cli.Streams, err error, asJSON bool) int {
	if err == nil {
		return ExitOK
	}
	if errors.Is(err, errNo) {
		return ExitNo
	}
	if code, ok := reportMember(s, err, asJSON); ok {
		return code
	}
	code := ExitFailed
	e := threeParts(err)
	switch _, usage := errors.AsType[usageError](err); {
	case usage:
		code = ExitUsage
		e = &nodeapi.Error{Code: CodeUsage, What: err.Error(), Next: "lanyard help"}
	case e.Code == nodeapi.CodeUnreachable, e.Code == nodeapi.CodeDenied:
		code = ExitUnreachable
	}
	if asJSON {
		b, _ := json.Marshal(e) // strings and a number cannot fail
		fmt.Fprintf(s.Err, "%s\n", b)
		return code
	}
	(&cli.Error{Code: e.Code, What: e.What, Cause: e.Cause, Next: e.Next}).Print(s)
	return code
}

// threeParts makes one kind of error of those that the parts of Lanyard have.
func threeParts(err error) *nodeapi.Error {
	if e, ok := errors.AsType[*nodeapi.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*config.Error](err); ok {
		return &nodeapi.Error{Code: CodeConfiguration, What: e.What, Cause: e.Cause, Next: e.Next}
	}
	if p, ok := errors.AsType[*webspace.Problem](err); ok {
		e := &nodeapi.Error{Code: CodeLXD, What: p.What, Cause: p.Cause, Next: p.Next}
		if e.Cause == "" && p.Err != nil {
			e.Cause = p.Err.Error()
		}
		return e
	}
	return &nodeapi.Error{Code: nodeapi.CodeInternal, What: err.Error()}
}
