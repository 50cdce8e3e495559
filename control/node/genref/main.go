// Genref writes the reference pages that follow from the code of the node daemon: the settings, the metrics, the admin
// socket. It is run by `go generate ./control/node`; its argument is the folder of the pages.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/lanyard-project/lanyard/control/node"
	"github.com/lanyard-project/lanyard/control/node/config"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: genref FOLDER")
		os.Exit(2)
	}
	api, err := apiReference("nodeapi")
	if err != nil {
		fmt.Fprintln(os.Stderr, "genref:", err)
		os.Exit(1)
	}
	for name, text := range map[string]string{"config.md": config.Reference(), "metrics.md": node.MetricsReference(), "admin-api.md": api} {
		if err := os.WriteFile(filepath.Join(os.Args[1], name), []byte(text), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "genref:", err)
			os.Exit(1)
		}
	}
}
