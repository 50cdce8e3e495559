package member

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/cli"
)

func (a *app) login() *cobra.Command {
	var byToken bool
	cmd := &cobra.Command{
		Use:   "login [NAME]",
		Short: "Log in to a server",
		Long: `Log in to a server, and remember the token in a file that only you can read ($LANYARD_CREDENTIALS, or lanyard/credentials.json in
your folder for configurations). The password is asked for, or read from the first line of standard input. With --token it is
a token that is read: for servers whose accounts are kept by an OpenID provider.`,
		Example: "lanyard login --server https://webspaces.example.org ada\nlanyard login --server https://webspaces.example.org --token < token",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), callTimeout)
			defer cancel()
			c, err := a.connection()
			if err != nil {
				return err
			}
			c.Token, c.Expires = "", nil
			if byToken {
				if len(args) > 0 {
					return cli.Usage("a token has its name in it", "lanyard login --token")
				}
				if c.Token, err = a.secret("Token: ", false); err != nil {
					return err
				}
				if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
					return cli.Usage("that is no token", "give the token alone, without spaces")
				}
			} else if err := a.password(ctx, c, args); err != nil {
				return err
			}
			who, err := a.self(ctx, c)
			if err != nil {
				return err
			}
			if err := save(c.credentials); err != nil {
				return err
			}
			return a.say(cmd, who, "Logged in as %s.", who.Username)
		},
	}
	cmd.Flags().BoolVar(&byToken, "token", false, "read a token instead of a password")
	return cmd
}

// password exchanges a name and a password for a token.
func (a *app) password(ctx context.Context, c *connection, args []string) error {
	if len(args) == 0 {
		return cli.Usage("it needs your user name", "lanyard login NAME")
	}
	password, err := a.secret("Password of "+args[0]+": ", false)
	if err != nil {
		return err
	}
	api, err := a.clientOf(c)
	if err != nil {
		return err
	}
	var got wire.LoginResponse
	resp, err := api.Login(ctx, args[0], wire.LoginRequest{Password: password})
	if err := answer(resp, err, &got); err != nil {
		if e, ok := errors.AsType[*cli.Error](err); ok && e.Code == "password-wrong" {
			e.Exit = cli.ExitLogin
		}
		return err
	}
	c.Token, c.Expires = got.Token, got.Expires
	return nil
}

// self asks the server who that is.
func (a *app) self(ctx context.Context, c *connection) (who wire.User, err error) {
	api, err := a.clientOf(c)
	if err != nil {
		return who, err
	}
	resp, err := api.GetAccount(ctx)
	err = answer(resp, err, &who)
	return who, err
}

func (a *app) logout() *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Revoke the token and forget it",
		Long: `Revoke the token at the server, and forget it here. Where tokens cannot be revoked (an OpenID provider), it is forgotten only;
with the directory of the system before Lanyard, all your sessions end.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			c, err := load()
			if err != nil || c.Token == "" {
				return errors.Join(forget(), a.say(cmd, struct{}{}, "Logged out."))
			}
			a.server = c.Server // whatever else is set: this token is of that server
			conn, err := a.connection()
			if err != nil {
				return err
			}
			conn.Token = c.Token
			api, err := a.clientOf(conn)
			if err != nil {
				return err
			}
			resp, err := api.Logout(ctx, "self")
			err = answer(resp, err, nil)
			// A token that is not valid any more needs no revocation.
			if e, ok := errors.AsType[*cli.Error](err); ok && (strings.HasPrefix(e.Code, "token-") || e.Code == "unsupported") {
				err = nil
			}
			if err != nil {
				e := &cli.Error{}
				errors.As(err, &e)
				return &cli.Error{Code: e.Code, What: "cannot revoke the token, so it is kept", Cause: e.What, Next: "try again, or remove the file of the login", Exit: e.Exit, Err: err}
			}
			if err := forget(); err != nil {
				return err
			}
			return a.say(cmd, struct{}{}, "Logged out.")
		},
	}
}

func (a *app) whoami() *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Say who you are logged in as",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var who wire.User
			resp, err := c.GetAccount(cmd.Context())
			if err := answer(resp, err, &who); err != nil {
				return err
			}
			role := ""
			if who.IsAdmin {
				role = ", an administrator"
			}
			return a.say(cmd, who, "%s, number %d%s", who.Username, who.ID, role)
		},
	}
}

// secret reads one without showing it: typed on a terminal (twice, if it is new), or else the first line of stdin.
func (a *app) secret(prompt string, twice bool) (string, error) {
	fail := func(cause, next string, err error) (string, error) {
		return "", &cli.Error{Code: "input", What: "cannot read it", Cause: cause, Next: next, Exit: cli.ExitUsage, Err: err}
	}
	if a.streams.In == nil {
		return fail("there is no standard input", "give it as the first line of standard input", nil)
	}
	if !a.streams.InTTY {
		line, err := bufio.NewReader(io.LimitReader(a.streams.In, 64<<10)).ReadString('\n')
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return fail(err.Error(), "give it as the first line of standard input", err)
		case line == "":
			return fail("standard input is empty", "type it on a terminal, or give it as the first line of standard input", nil)
		}
		return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
	}
	read := func(prompt string) (string, error) {
		fmt.Fprint(a.streams.Err, cli.Printable(prompt))
		b, err := term.ReadPassword(int(a.streams.In.Fd()))
		fmt.Fprintln(a.streams.Err)
		return string(b), err
	}
	first, err := read(prompt)
	if err != nil {
		return fail(err.Error(), "try again", err)
	}
	if twice {
		again, err := read("Again: ")
		if err != nil {
			return fail(err.Error(), "try again", err)
		}
		if again != first {
			return fail("the two are not the same", "try again", nil)
		}
	}
	return first, nil
}
