// Lanyard looks after the node that this machine is. See docs/reference/cli.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/lanyard-project/lanyard/control/admin"
	"github.com/lanyard-project/lanyard/control/connectivity/probe"
)

// version is set by the linker: -ldflags "-X main.version=...".
var version = "devel"

func main() { os.Exit(run()) }

func run() int {
	if probe.IsProbe() { // this is a temporary webspace, whose whole file system is this binary
		if os.Getpid() == 1 {
			return probe.Init()
		}
		return probe.Main(os.Stdout, os.Stderr, os.Args[1:])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return admin.Run(ctx, admin.Standard(), version, os.Args[1:])
}
