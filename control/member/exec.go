package member

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/cli"
)

// maxCollected bounds what exec --json keeps of each stream.
const maxCollected = 64 << 20

type execFlags struct {
	uid, gid      int32
	environment   []string
	dir           string
	terminal, not bool
}

func (a *app) exec() *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:   "exec [flags] -- COMMAND [ARG]...",
		Short: "Run a command in it",
		Long: `Run a command in the webspace, which is booted if need be, and end with the command's exit code; with 255 when the session failed.
The command and its arguments arrive as they are: no shell sees them, unless it is the command (sh -c '...').

On a terminal the command gets one too. Otherwise its input, output and errors are pipes of their own, every byte arrives, and
signals are handed on to it.`,
		Example: "lanyard ws exec -- ls -l /root\nlanyard ws exec -- tar -C /srv -cz . > srv.tar.gz\nlanyard ws exec -e LANG=C --cwd /srv -- sh -c 'make && make install'",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.terminal && f.not {
				return cli.Usage("--terminal and --no-terminal exclude each other", "leave one of them out")
			}
			req, err := f.request(cmd, args)
			if err != nil {
				return err
			}
			if asJSON(cmd) {
				return a.collect(cmd.Context(), req)
			}
			terminal := a.streams.InTTY && a.streams.OutTTY
			if terminal = (terminal || f.terminal) && !f.not; terminal {
				return a.interactive(cmd.Context(), req)
			}
			return a.piped(cmd.Context(), req)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the command is the command's
	flags.Int32Var(&f.uid, "uid", 0, "`number` of the user in the webspace to run as")
	flags.Int32Var(&f.gid, "gid", 0, "`number` of the group in the webspace to run as")
	flags.StringArrayVarP(&f.environment, "env", "e", nil, "variable of the environment, `NAME=VALUE`")
	flags.StringVar(&f.dir, "cwd", "", "`folder` to run in")
	flags.BoolVarP(&f.terminal, "terminal", "t", false, "give it a terminal, even when this is none")
	flags.BoolVarP(&f.not, "no-terminal", "T", false, "give it pipes, even on a terminal")
	return cmd
}

func (f execFlags) request(cmd *cobra.Command, args []string) (wire.ExecInteractiveRequest, error) {
	req := wire.ExecInteractiveRequest{Command: args}
	if cmd.Flags().Changed("uid") {
		req.User = &f.uid
	}
	if cmd.Flags().Changed("gid") {
		req.Group = &f.gid
	}
	if f.dir != "" {
		req.WorkingDirectory = &f.dir
	}
	env := map[string]string{}
	for _, one := range f.environment {
		name, v, ok := strings.Cut(one, "=")
		if !ok || name == "" {
			return req, cli.Usage(fmt.Sprintf("%q is no variable", one), "use -e NAME=VALUE")
		}
		env[name] = v
	}
	if len(env) > 0 {
		req.Environment = &env
	}
	return req, nil
}

// interactive runs a command on a terminal of its own.
func (a *app) interactive(ctx context.Context, req wire.ExecInteractiveRequest) error {
	yes := true
	w, h := a.size()
	req.Terminal, req.Width, req.Height = &yes, &w, &h
	if t := os.Getenv("TERM"); t != "" {
		env := map[string]string{"TERM": t}
		for k, v := range value(req.Environment) {
			env[k] = v
		}
		req.Environment = &env
	}
	s, err := a.open(ctx, "exec", req)
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
		go a.resize(s, w, h, resizeControl) // ends with the session
	}
	go a.feed(s, func() {}) // ends with the session, or with the next key after it
	reason, err := s.receive(func(b []byte) error { _, err := a.streams.Out.Write(b); return err })
	if err != nil {
		return err
	}
	return exitCode(reason)
}

// piped runs a command without a terminal: three streams, and signals.
func (a *app) piped(ctx context.Context, req wire.ExecInteractiveRequest) error {
	return a.run(ctx, req, a.streams.Out, a.streams.Err)
}

func (a *app) run(ctx context.Context, req wire.ExecInteractiveRequest, stdout, stderr io.Writer) error {
	no := false
	req.Terminal = &no
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, passed...)
	defer signal.Stop(signals)
	s, err := a.open(ctx, "exec", req)
	if err != nil {
		return err
	}
	defer s.done()
	go func() { // ends with the session
		for {
			select {
			case <-s.ctx.Done():
				return
			case got := <-signals:
				n := number(got)
				if s.text(wire.ExecInteractiveControl{Signal: &n}) != nil {
					return
				}
			}
		}
	}()
	eof := true
	go a.feed(s, func() { _ = s.text(wire.ExecInteractiveControl{EOF: &eof}) }) // ends with the session, or with the next input after it
	reason, err := s.receive(func(b []byte) error {
		if len(b) == 0 {
			return nil
		}
		var err error
		switch b[0] {
		case 1:
			_, err = stdout.Write(b[1:])
		case 2:
			_, err = stderr.Write(b[1:])
		}
		return err
	})
	if err != nil {
		return err
	}
	return exitCode(reason)
}

// feed sends standard input until it ends. Reading cannot be interrupted everywhere: the process ends without it.
func (a *app) feed(s *session, eof func()) {
	if a.streams.In == nil {
		eof()
		return
	}
	b := make([]byte, inputChunk)
	for {
		n, err := a.streams.In.Read(b)
		if n > 0 && s.write(websocket.MessageBinary, b[:n]) != nil {
			return
		}
		if err != nil {
			eof()
			return
		}
	}
}

// bounded keeps what is written, up to a limit.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxCollected {
		return 0, errors.New("it is longer than 64 MiB: leave --json out")
	}
	return b.Buffer.Write(p)
}

// collect runs a command and prints one object, as the seed's CLI does. Bytes that are no UTF-8 are replaced.
func (a *app) collect(ctx context.Context, req wire.ExecInteractiveRequest) error {
	var stdout, stderr bounded
	ended := a.run(ctx, req, &stdout, &stderr)
	code, ok := errors.AsType[cli.Exit](ended)
	if ended != nil && !ok {
		return ended
	}
	text := func(b *bounded) string {
		if utf8.Valid(b.Bytes()) {
			return b.String()
		}
		return strings.ToValidUTF8(b.String(), "\ufffd")
	}
	if err := a.print(wire.ExecResponse{Stdout: text(&stdout), Stderr: text(&stderr), ExitCode: int(code)}); err != nil {
		return err
	}
	return ended
}
