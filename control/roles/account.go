package roles

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/account/command"
	"github.com/lanyard-project/lanyard/control/node"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/webspace"
)

// accountCommand is `lanyardd account`.
func accountCommand() *cobra.Command {
	return command.Command(command.Environment{
		In: os.Stdin,
		Load: func(file string) (config.Config, error) {
			return config.Load(config.Sources{File: file, Environ: os.Environ()})
		},
		Store: func(c config.Config) (*webspace.Store, error) {
			if resolved, _, err := c.Resolve(config.ThisMachine{}); err == nil { // numbers can be asked for on any machine
				c = resolved
			}
			return node.Connect(c)
		},
	})
}
