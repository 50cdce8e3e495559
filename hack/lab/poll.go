package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// stopError ends a poll at once.
type stopError struct{ error }

func (e stopError) Unwrap() error { return e.error }

func stop(err error) error { return stopError{err} }

// poll calls f until it succeeds, at most for limit.
func poll(ctx context.Context, limit time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for wait := 5 * time.Millisecond; ; wait = min(wait*3/2, 200*time.Millisecond) {
		err := f()
		if err == nil {
			return nil
		}
		var fatal stopError
		if errors.As(err, &fatal) {
			return fatal.error
		}
		if ctx.Err() == nil || last == nil {
			last = err // an error after the limit is only that of the cancelled context
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", limit, last)
		case <-time.After(wait):
		}
	}
}

// Eventually waits until f succeeds, at most for limit, and returns its last error otherwise.
func Eventually(ctx context.Context, limit time.Duration, f func() error) error {
	return poll(ctx, limit, f)
}
