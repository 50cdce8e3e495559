package webspace

import (
	"bytes"
	"context"
	"io"
)

// ExecSpec is a command to run in a webspace.
type ExecSpec struct {
	Command     []string // argv; no shell is involved
	User, Group uint32
	Environment map[string]string
	Dir         string // "": the home of root

	Terminal      bool // one pseudo-terminal instead of three pipes; Stderr is then not used
	Width, Height int  // of the terminal, in characters
}

// Streams connect a session with its caller. What is not read from LXD is not buffered here: a Write that blocks stops
// the command at its next output. A Write that blocks must end, with an error, when the ctx of the session does.
type Streams struct {
	Stdin          io.ReadCloser // nil: nothing. Closed at the end of the session; Read must then return
	Stdout, Stderr io.Writer     // nil: discarded. An error of Write ends the session
	Control        <-chan Control
}

// Control of a running session. What is zero is not done.
type Control struct {
	Width, Height int // new size of the terminal
	Signal        int // sent to the command
}

// Exec runs a command in a webspace, started or thawed when need be, until it ends, and returns its exit code (128 and
// more: killed by a signal). A command that fails is no error. When ctx ends, the command is killed.
func (s *Service) Exec(ctx context.Context, uid int, spec ExecSpec, streams Streams) (code int, err error) {
	defer s.o.Hold(uid)()
	i, err := s.awake(ctx, uid)
	if err != nil {
		closeInput(streams.Stdin)
		return 0, err
	}
	return s.store.Session(ctx, i.Name, spec, streams)
}

// Output is Exec without terminal, with stdin given and the output returned: at most MaxOutput bytes of each stream.
func (s *Service) Output(ctx context.Context, uid int, command []string, stdin []byte) (ExecResult, error) {
	var stdout, stderr limited
	streams := Streams{Stdout: &stdout, Stderr: &stderr}
	if len(stdin) > 0 {
		streams.Stdin = io.NopCloser(bytes.NewReader(stdin))
	}
	code, err := s.Exec(ctx, uid, ExecSpec{Command: command}, streams)
	if err != nil {
		return ExecResult{}, err
	}
	return ExecResult{Code: code, Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}, nil
}

// Console attaches to the console of a webspace, started or thawed when need be, until ctx ends, the webspace stops, or
// Stdin ends. There is one at a time: ErrNoConsole when somebody else has it.
func (s *Service) Console(ctx context.Context, uid, width, height int, streams Streams) error {
	defer s.o.Hold(uid)()
	i, err := s.awake(ctx, uid)
	if err != nil {
		closeInput(streams.Stdin)
		return err
	}
	ctx, detach := context.WithCancel(ctx)
	defer detach()
	remove, ok := s.sessions.add(uid, detach)
	if !ok {
		closeInput(streams.Stdin)
		return inUse(i.Name)
	}
	defer remove()
	return s.store.Console(ctx, i.Name, width, height, streams)
}
