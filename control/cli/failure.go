package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Exit codes that all of Lanyard's commands share.
const (
	ExitOK          = 0
	ExitFailed      = 1   // the command itself failed
	ExitUsage       = 2   // wrong arguments or flags
	ExitNo          = 3   // done, and the answer is no
	ExitUnreachable = 4   // nobody answers there
	ExitLogin       = 5   // no token, or one that is not accepted
	ExitSession     = 255 // a session failed before its command's own code was known
)

// Error is a failure in three parts, with a stable code.
type Error struct {
	Code  string
	What  string // what failed
	Cause string
	Next  string // the next command
	Exit  int    // 0: ExitFailed
	Err   error
}

func (e *Error) Error() string {
	return strings.TrimSuffix(strings.Join([]string{e.What, e.Cause}, ": "), ": ")
}

func (e *Error) Unwrap() error { return e.Err }

// Usage is an error of what the caller typed.
func Usage(what, next string) error {
	return &Error{Code: "usage", What: what, Next: next, Exit: ExitUsage}
}

// Exit ends a command with a code, and without a message: its output has said everything.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Report prints an error on stderr, as JSON if asJSON, and gives the exit code. What is no *Error or Exit is a wrong usage,
// as cobra's own errors are.
func Report(s Streams, err error, asJSON bool) int {
	if err == nil {
		return ExitOK
	}
	if exit, ok := errors.AsType[Exit](err); ok {
		return int(exit)
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Code: "usage", What: err.Error(), Next: "lanyard help", Exit: ExitUsage}
	}
	code := e.Exit
	if code == 0 {
		code = ExitFailed
	}
	if asJSON {
		b, _ := json.Marshal(struct { // strings cannot fail
			Code   string `json:"code"`
			Title  string `json:"title"`
			Detail string `json:"detail,omitempty"`
			Next   string `json:"next,omitempty"`
		}{e.Code, e.What, e.Cause, e.Next})
		fmt.Fprintf(s.Err, "%s\n", b)
		return code
	}
	e.Print(s)
	return code
}

// Print tells people, on stderr.
func (e *Error) Print(s Streams) {
	fmt.Fprintf(s.Err, "lanyard: %s [%s]\n", Printable(e.What), Printable(e.Code))
	if e.Cause != "" {
		fmt.Fprintf(s.Err, "  cause: %s\n", Printable(e.Cause))
	}
	if e.Next != "" {
		fmt.Fprintf(s.Err, "  next:  %s\n", Printable(e.Next))
	}
}
