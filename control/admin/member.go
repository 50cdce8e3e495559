package admin

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/member"
)

// memberCommands are those that every machine has.
func memberCommands(o *options) []*cobra.Command {
	return member.Commands(o.streams, o.version)
}

// reportMember reports what the members' commands return.
func reportMember(s cli.Streams, err error, asJSON bool) (code int, ok bool) {
	_, failed := errors.AsType[*cli.Error](err)
	_, ended := errors.AsType[cli.Exit](err)
	if !failed && !ended {
		return 0, false
	}
	return cli.Report(s, err, asJSON), true
}
