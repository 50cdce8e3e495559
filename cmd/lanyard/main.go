// Lanyard looks after the node that this machine is. See docs/reference/cli.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/lanyard-project/lanyard/control/admin"
)

// version is set by the linker: -ldflags "-X main.version=...".
var version = "devel"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return admin.Run(ctx, admin.Standard(), version, os.Args[1:])
}
