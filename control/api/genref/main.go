// Genref writes docs/reference/api.md.
package main

import (
	"fmt"
	"os"

	"github.com/lanyard-project/lanyard/control/api/reference"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: genref FILE")
		os.Exit(2)
	}
	text, err := reference.API()
	if err == nil {
		err = os.WriteFile(os.Args[1], []byte(text), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "genref:", err)
		os.Exit(1)
	}
}
