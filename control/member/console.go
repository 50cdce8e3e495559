package member

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/api/wire"
)

func (a *app) shell() *cobra.Command {
	return &cobra.Command{
		Use:   "login",
		Short: "Log in to it: a shell of its root",
		Long:  "Log in to the webspace: run the shell of its root on a terminal. It needs no password. The webspace is booted if need be.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var got wire.ExecResponse
			resp, err := c.Exec(cmd.Context(), a.target(), wire.ExecRequest{Command: "getent passwd root || grep ^root: /etc/passwd"})
			if err := answer(resp, err, &got); err != nil {
				return atSession(err)
			}
			dir := "/root"
			req := wire.ExecInteractiveRequest{Command: []string{rootShell(got.Stdout), "-l"}, WorkingDirectory: &dir}
			if a.streams.InTTY {
				return a.interactive(cmd.Context(), req)
			}
			return a.piped(cmd.Context(), req) // lanyard ws login < script
		},
	}
}

// rootShell is the last of the seven fields of a line of passwd. The webspace says what it likes there.
func rootShell(passwd string) string {
	line, _, _ := strings.Cut(passwd, "\n")
	fields := strings.Split(strings.TrimSpace(line), ":")
	if len(fields) < 7 || !strings.HasPrefix(fields[6], "/") {
		return "/bin/sh"
	}
	return fields[6]
}

func (a *app) console() *cobra.Command {
	return &cobra.Command{
		Use:   "console",
		Short: "Attach to its console",
		Long:  "Attach to the webspace's console, which one can do at a time. Leave it with Ctrl-] and then q; what runs there goes on.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.attach(cmd.Context())
		},
	}
}

func (a *app) attach(ctx context.Context) error {
	w, h := a.size()
	s, err := a.open(ctx, "console", wire.ResizeRequest{Width: w, Height: h})
	if err != nil {
		return err
	}
	defer s.done()
	if a.streams.InTTY {
		restore, err := a.raw()
		if err != nil {
			return err
		}
		defer restore()
		fmt.Fprint(a.streams.Err, "Attached. Leave with Ctrl-] and then q.\r\n")
		go a.resize(s, w, h, func(w, h int) any { return wire.ResizeRequest{Width: w, Height: h} }) // ends with the session
	}
	left := make(chan struct{})
	go func() { // ends with the session, or with the next key after it
		if a.typed(s) {
			close(left)
			s.leave()
		}
	}()
	_, err = s.receive(func(b []byte) error { _, err := a.streams.Out.Write(b); return err })
	select {
	case <-left:
		return nil
	default:
		return err
	}
}

// The keys that leave the console.
const (
	escape = 0x1d // Ctrl-]
	quit   = 'q'
)

// typed sends what is typed, and gives true once somebody leaves: by the keys, or by the end of the input.
func (a *app) typed(s *session) bool {
	if a.streams.In == nil {
		return false
	}
	var keys leaving
	b := make([]byte, inputChunk)
	for {
		n, err := a.streams.In.Read(b)
		out, leave := keys.filter(b[:n])
		if len(out) > 0 && s.write(websocket.MessageBinary, out) != nil {
			return false
		}
		if leave || err != nil {
			return true
		}
	}
}

// leaving finds Ctrl-] and q, also in two pieces of input. Ctrl-] twice sends it once.
type leaving struct{ armed bool }

func (l *leaving) filter(in []byte) (out []byte, leave bool) {
	if !l.armed && bytes.IndexByte(in, escape) < 0 {
		return in, false
	}
	for _, k := range in {
		switch {
		case l.armed && k == quit:
			return out, true
		case l.armed && k == escape:
			out, l.armed = append(out, escape), false
		case l.armed:
			out, l.armed = append(out, escape, k), false
		case k == escape:
			l.armed = true
		default:
			out = append(out, k)
		}
	}
	return out, false
}
