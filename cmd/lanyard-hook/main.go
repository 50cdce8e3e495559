// Lanyard-hook does two things while LXC starts a container, for which LXD runs whole programs: it tells LXD that LXC has come
// to its start hook, as `lxd callhook` does, and it makes the network interface, as `ip` does.
//
// It speaks HTTP and rtnetlink by hand, and imports no network or command-line package: what it costs is its own start.
package main

import (
	"errors"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		os.Stderr.WriteString("lanyard-hook: " + err.Error() + "\n")
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "callhook":
			return onStart(args[1:], os.Getenv("LXD_SOCKET"))
		case "veth":
			return makeVeth(args[1:])
		}
	}
	return errArguments
}

var errArguments = errors.New("these are not the arguments that lanyardd has written; next: turn wake.start_hook and wake.veth_hook off, and say so in an issue")
