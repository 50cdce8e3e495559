//go:build !linux

package main

import (
	"context"
	"os"

	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/member"
)

// run is for members: nodes are Linux.
func run(ctx context.Context) int {
	return member.Run(ctx, cli.Standard(), version, os.Args[1:])
}
