package supervise

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"
)

func TestSupervisor(t *testing.T) {
	s := New(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	runs := make(chan int, 10)
	count := 0
	go func() {
		defer close(done)
		s.Run(ctx, "x", func(ctx context.Context) error {
			count++
			runs <- count
			if count < 3 {
				return errors.New("no")
			}
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	for <-runs < 3 {
	}
	if len(s.Down()) != 0 {
		t.Error("still down:", s.Down())
	}
	cancel()
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		t.Error("does not end")
	}
}
