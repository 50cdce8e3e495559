package main

import (
	"context"
	"os"

	"github.com/lanyard-project/lanyard/control/admin"
	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/connectivity/probe"
)

// run is for members and for the administrator of a node.
func run(ctx context.Context) int {
	if probe.IsProbe() { // this is a temporary webspace, whose whole file system is this binary
		if os.Getpid() == 1 {
			return probe.Init()
		}
		return probe.Main(os.Stdout, os.Stderr, os.Args[1:])
	}
	return admin.Run(ctx, cli.Standard(), version, os.Args[1:])
}
