package sleep

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var marks []time.Duration // of uid 3, from the beginning; negative: the end
		begun := time.Now()
		l := NewLeases(func(_ context.Context, uid int, until time.Time) error {
			if uid != 3 {
				t.Errorf("uid %d is noted", uid)
			}
			if until.IsZero() {
				marks = append(marks, -time.Since(begun))
			} else {
				marks = append(marks, until.Sub(begun))
			}
			return errors.New("LXD is away")
		}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()

		short := l.Hold(4) // over before anything is noted
		a, b := l.Hold(3), l.Hold(3)
		time.Sleep(2 * time.Second)
		short()
		a()
		a()
		time.Sleep(150 * time.Second)
		synctest.Wait()
		if len(marks) != 3 || marks[0] != 185*time.Second || marks[1] != 245*time.Second || marks[2] != 305*time.Second {
			t.Error(marks)
		}
		b()
		synctest.Wait()
		if len(marks) != 4 || marks[3] != -152*time.Second {
			t.Error(marks)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(marks) != 4 || len(l.held) != 0 {
			t.Error(marks)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
