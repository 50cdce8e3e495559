// Lanyardd is the daemon of a machine that holds webspaces. See control/roles for what it does.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/lanyard-project/lanyard/control/roles"
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
	cmd := roles.Command(version, os.Stdout, os.Stderr)
	if err := cmd.ExecuteContext(context.Background()); err != nil {
		roles.Explain(os.Stderr, err)
		os.Exit(1)
	}
}
