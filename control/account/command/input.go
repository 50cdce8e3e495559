package command

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lanyard-project/lanyard/control/account"
)

// password reads one without showing it.
func (o *options) password(cmd *cobra.Command) (string, error) {
	fail := func(cause string, err error) (string, error) {
		return "", &account.Error{What: "cannot read the password", Cause: cause, Kind: account.ErrInvalid, Err: err,
			Next: "type it on a terminal, or give it as the first line of standard input"}
	}
	fd := int(o.env.In.Fd())
	if !term.IsTerminal(fd) {
		line, err := bufio.NewReader(io.LimitReader(o.env.In, 4096)).ReadString('\n')
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return fail(err.Error(), err)
		case line == "":
			return fail("standard input is empty", nil)
		}
		return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
	}
	var typed [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(cmd.ErrOrStderr(), prompt)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(cmd.ErrOrStderr())
		if err != nil {
			return fail(err.Error(), err)
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return fail("the two are not the same", nil)
	}
	return typed[0], nil
}

// readKeys reads public keys, of which a file may hold several.
func readKeys(files []string) ([]string, error) {
	keys := []string{}
	for _, file := range files {
		if file == "" {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, &account.Error{What: "cannot read the SSH key", Cause: err.Error(), Kind: account.ErrInvalid, Next: "name a file such as id_ed25519.pub", Err: err}
		}
		if len(b) > 256<<10 {
			return nil, &account.Error{What: "cannot read the SSH key", Cause: file + " is too long", Kind: account.ErrInvalid, Next: "name a file such as id_ed25519.pub"}
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			key, err := account.CheckKey(line)
			if err != nil {
				return nil, err
			}
			keys = append(keys, key)
		}
	}
	return keys, nil
}
