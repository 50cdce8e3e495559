package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/account"
	"github.com/lanyard-project/lanyard/control/account/manage"
	"github.com/lanyard-project/lanyard/control/account/setup"
	"github.com/lanyard-project/lanyard/control/node/config"
	"github.com/lanyard-project/lanyard/webspace"
)

// Environment is what the commands find around them.
type Environment struct {
	Load  func(file string) (config.Config, error)
	Store func(config.Config) (*webspace.Store, error)
	In    *os.File // passwords: typed twice on a terminal, else its first line
}

type options struct {
	env  Environment
	file string
	json bool
}

// Command is the tree `account`.
func Command(env Environment) *cobra.Command {
	o := &options{env: env}
	root := &cobra.Command{
		Use:   "account",
		Short: "Look after local accounts",
		Long: `Look after the accounts of this installation (accounts.provider: local), or the members that an OpenID provider has
vouched for. While lanyardd runs, this asks it over accounts.socket; otherwise it opens the file itself.

Passwords are read from the terminal, twice, or else from the first line of standard input.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&o.file, "config", "", "YAML file (default $LANYARD_CONFIG, or none)")
	root.PersistentFlags().BoolVar(&o.json, "json", false, "print JSON")
	root.AddCommand(o.add(), o.passwd(), o.set(), o.list(), o.remove())
	return root
}

// with calls f with whoever has the accounts: the daemon, or else their file.
func (o *options) with(cmd *cobra.Command, f func(context.Context, manage.Manager) error) error {
	file := o.file
	if file == "" {
		file = os.Getenv("LANYARD_CONFIG")
	}
	c, err := o.env.Load(file)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Minute)
	defer cancel()
	if c.Accounts.Socket != "" {
		client := manage.NewClient(c.Accounts.Socket)
		defer client.Close()
		if err := f(ctx, client); !errors.Is(err, manage.ErrNoDaemon) {
			return err
		}
	}
	provider, m, err := setup.Provider(c.Accounts, func(ctx context.Context) ([]int, error) {
		store, err := o.env.Store(c)
		if err != nil {
			return nil, err
		}
		return setup.Of(store)(ctx)
	})
	if err != nil {
		return err
	}
	if closer, ok := provider.(account.Closer); ok {
		defer closer.Close()
	}
	if m == nil {
		return &account.Error{What: "there are no accounts here", Cause: "accounts.provider says that they are kept elsewhere", Kind: account.ErrInvalid,
			Next: "change them in the directory of users"}
	}
	return f(ctx, m)
}

func (o *options) add() *cobra.Command {
	var n manage.New
	var keys []string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add an account",
		Long: `Add an account. Its number is the next that neither an account nor a webspace has or had; a new member never gets what
another one left. The account of a webspace that exists is made with --uid.`,
		Example: "lanyardd account add ada --admin\nlanyardd account add bob --ssh-key bob.pub < password",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n.Username = args[0]
			if err := account.CheckName(n.Username); err != nil { // before anybody types a password
				return err
			}
			var err error
			if n.SSHKeys, err = readKeys(keys); err != nil {
				return err
			}
			if n.Password, err = o.password(cmd); err != nil {
				return err
			}
			return o.with(cmd, func(ctx context.Context, m manage.Manager) error {
				a, err := m.Add(ctx, n)
				if err != nil {
					return err
				}
				return o.show(cmd, a, fmt.Sprintf("added %s, number %d", a.Username, a.UID))
			})
		},
	}
	cmd.Flags().IntVar(&n.UID, "uid", 0, "`number` of the member (default: the next that is free)")
	cmd.Flags().BoolVar(&n.Admin, "admin", false, "may use everybody's webspace")
	cmd.Flags().StringSliceVar(&keys, "ssh-key", nil, "`file` with a public key of the member (default: none)")
	return cmd
}

func (o *options) passwd() *cobra.Command {
	return &cobra.Command{
		Use:   "passwd NAME",
		Short: "Set an account's password, and end its sessions",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := o.password(cmd)
			if err != nil {
				return err
			}
			return o.with(cmd, func(ctx context.Context, m manage.Manager) error {
				a, err := m.Set(ctx, args[0], manage.Change{Password: &password})
				if err != nil {
					return err
				}
				return o.show(cmd, a, "changed the password of "+a.Username+"; its sessions have ended")
			})
		},
	}
}

func (o *options) set() *cobra.Command {
	var admin bool
	var keys []string
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change an account's rights or SSH keys",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var c manage.Change
			if cmd.Flags().Changed("admin") {
				c.Admin = &admin
			}
			if cmd.Flags().Changed("ssh-key") {
				list, err := readKeys(keys)
				if err != nil {
					return err
				}
				c.SSHKeys = &list
			}
			if c == (manage.Change{}) {
				return &account.Error{What: "nothing to change", Cause: "neither --admin nor --ssh-key is given", Kind: account.ErrInvalid,
					Next: "lanyardd account set --help"}
			}
			return o.with(cmd, func(ctx context.Context, m manage.Manager) error {
				a, err := m.Set(ctx, args[0], c)
				if err != nil {
					return err
				}
				return o.show(cmd, a, "changed "+a.Username)
			})
		},
	}
	cmd.Flags().BoolVar(&admin, "admin", false, "may use everybody's webspace; --admin=false takes that back")
	cmd.Flags().StringSliceVar(&keys, "ssh-key", nil, "`file` with a public key; all others are forgotten, and an empty name is no key")
	return cmd
}

func (o *options) list() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the accounts",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.with(cmd, func(ctx context.Context, m manage.Manager) error {
				list, err := m.List(ctx)
				if err != nil {
					return err
				}
				if o.json {
					return printJSON(cmd, list)
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
				fmt.Fprintln(w, "NUMBER\tNAME\tADMIN\tSSH KEYS\tSESSIONS\tSINCE")
				for _, a := range list {
					fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%d\t%s\n", a.UID, printable(a.Username), yesNo(a.Admin), len(a.SSHKeys), a.Sessions, a.Created.Format(time.DateOnly))
				}
				return w.Flush()
			})
		},
	}
}

func (o *options) remove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove an account and end its sessions; its webspace stays",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.with(cmd, func(ctx context.Context, m manage.Manager) error {
				if err := m.Remove(ctx, args[0]); err != nil {
					return err
				}
				return o.show(cmd, map[string]string{"removed": args[0]}, "removed "+printable(args[0])+"; its webspace, if it has one, stays")
			})
		},
	}
}

func (o *options) show(cmd *cobra.Command, v any, text string) error {
	if o.json {
		return printJSON(cmd, v)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}

func printJSON(cmd *cobra.Command, v any) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// printable keeps names from elsewhere from meaning something to a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
