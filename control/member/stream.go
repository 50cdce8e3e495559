package member

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/lanyard-project/lanyard/control/cli"
)

const maxEvent = 4 << 20

// events calls each for every server-sent event until the stream ends (nil), or each says so.
func events(body io.Reader, each func(name string, data []byte) error) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 64<<10), maxEvent)
	name, data := "", []string{}
	for lines.Scan() {
		line := lines.Text()
		field, text, _ := strings.Cut(line, ":")
		text = strings.TrimPrefix(text, " ")
		switch {
		case line == "":
			if len(data) > 0 {
				if err := each(name, []byte(strings.Join(data, "\n"))); err != nil {
					return err
				}
			}
			name, data = "", data[:0]
		case field == "event":
			name = text
		case field == "data":
			data = append(data, text)
		}
	}
	if err := lines.Err(); err != nil {
		return unreachable(err)
	}
	return nil
}

// wantEvents asks for a stream of events instead of one answer.
func wantEvents(_ context.Context, r *http.Request) error {
	r.Header.Set("Accept", "text/event-stream")
	return nil
}

// broken is a stream that ended too early.
func broken(what string) error {
	return &cli.Error{Code: "unreachable", What: what, Cause: "the server ended the connection", Next: "look how far it came: lanyard ws status", Exit: cli.ExitUnreachable}
}
