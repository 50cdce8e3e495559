// Lanyardd is the daemon of a machine that holds webspaces. See control/node for what it does.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/lanyard-project/lanyard/control/node"
)

// version is set by the linker: -X main.version=...
var version string

func main() {
	if version == "" {
		version = "unknown"
		if info, ok := debug.ReadBuildInfo(); ok {
			version = info.Main.Version
		}
	}
	cmd := node.Command(version, os.Stdout, os.Stderr)
	if err := cmd.ExecuteContext(context.Background()); err != nil {
		node.Explain(os.Stderr, err)
		os.Exit(1)
	}
}
