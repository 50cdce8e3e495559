// Genref writes the reference of the command line to the file that is its argument.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/lanyard-project/lanyard/control/admin"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "genref:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want one file name, got %d", len(args))
	}
	var b bytes.Buffer
	if err := admin.WriteReference(&b); err != nil {
		return err
	}
	return os.WriteFile(args[0], b.Bytes(), 0o644)
}
