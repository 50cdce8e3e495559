package roles

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestQuiet(t *testing.T) {
	var out bytes.Buffer
	q := newQuiet(slog.NewTextHandler(&out, nil))
	now := time.Unix(1e9, 0)
	q.said.now = func() time.Time { return now }
	log := slog.New(q)
	for range 100 {
		log.Warn("gone", "err", "x")
		log.Info("hello")
	}
	log.Warn("gone", "err", "y")
	log.With("part", "a").Warn("gone", "err", "x")
	if n := strings.Count(out.String(), "gone"); n != 3 {
		t.Errorf("%d warnings: %s", n, out.String())
	}
	if n := strings.Count(out.String(), "hello"); n != 100 {
		t.Errorf("%d of 100 infos", n)
	}
	now = now.Add(quietFor)
	out.Reset()
	log.Warn("gone", "err", "x")
	if !strings.Contains(out.String(), "held_back=99") {
		t.Error(out.String())
	}
	for i := range 10 * quietMax {
		log.Warn("gone", "n", i)
	}
	if len(q.said.last) > quietMax {
		t.Errorf("%d warnings are remembered", len(q.said.last))
	}
}
