// Genref writes docs/reference/images.md to the file that is its argument.
package main

import (
	"fmt"
	"os"

	"github.com/lanyard-project/lanyard/control/images"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: genref FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(images.Reference()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "genref:", err)
		os.Exit(1)
	}
}
