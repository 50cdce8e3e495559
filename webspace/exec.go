package webspace

import (
	"bytes"
	"context"
	"fmt"

	incus "github.com/lxc/incus/client"
	"github.com/lxc/incus/shared/api"
)

// maxOutput of one command that Exec runs, for each stream, bytes. What is beyond is lost.
const maxOutput = 1 << 20

// ExecResult is what a command in a webspace left behind.
type ExecResult struct {
	Code           int // exit code; 128 and more: killed by a signal
	Stdout, Stderr []byte
}

// Exec runs a command in a running webspace, without input or terminal, and waits for its end. A command that fails is
// no error: see Code. The end of ctx ends the wait, not the command.
func (s *Store) Exec(ctx context.Context, name string, command []string) (ExecResult, error) {
	what := "run a command in webspace " + name
	if _, err := s.path(name); err != nil {
		return ExecResult{}, err
	}
	c, err := s.client(ctx, userAgent)
	if err != nil {
		return ExecResult{}, s.failed(what, err)
	}
	defer c.Disconnect()
	c = c.UseProject(s.o.Project)
	stdout, stderr, done := &limited{}, &limited{}, make(chan bool)
	op, err := c.ExecInstance(name, api.InstanceExecPost{Command: command, WaitForWS: true},
		&incus.InstanceExecArgs{Stdin: bytes.NewReader(nil), Stdout: stdout, Stderr: stderr, DataDone: done})
	if err != nil {
		return ExecResult{}, s.failed(what, err)
	}
	if err := op.WaitContext(ctx); err != nil {
		return ExecResult{}, s.failed(what, err)
	}
	select {
	case <-done:
	case <-ctx.Done():
		return ExecResult{}, s.failed(what, ctx.Err())
	}
	code, ok := op.Get().Metadata["return"].(float64)
	if !ok {
		return ExecResult{}, &Problem{What: "could not " + what, Cause: "LXD gave no exit code", Next: "see: lxc info " + name + " --show-log"}
	}
	return ExecResult{Code: int(code), Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}, nil
}

// limited keeps the first maxOutput bytes; a webspace must not fill our memory.
type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	if room := maxOutput - l.Len(); room > 0 {
		l.Buffer.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}

// Succeeded turns a failed command into an error.
func (r ExecResult) Succeeded() error {
	if r.Code == 0 {
		return nil
	}
	return fmt.Errorf("exit code %d: %.300q", r.Code, bytes.TrimSpace(r.Stderr))
}
