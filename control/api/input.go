package api

import (
	"context"
	"io"
	"sync"
)

// input is a bounded pipe: what a client has sent and the process has not taken yet.
type input struct {
	most int

	mu     sync.Mutex
	bytes  []byte
	ended  bool          // nothing more will come
	closed bool          // nobody reads any more
	moved  chan struct{} // closed and replaced at every change
}

func newInput(most int) *input { return &input{most: most, moved: make(chan struct{})} }

func (i *input) signal() {
	close(i.moved)
	i.moved = make(chan struct{})
}

// put waits for room. After the end what comes is dropped.
func (i *input) put(ctx context.Context, b []byte) error {
	for {
		i.mu.Lock()
		if i.ended || i.closed {
			i.mu.Unlock()
			return nil
		}
		if len(i.bytes) < i.most {
			i.bytes = append(i.bytes, b...)
			i.signal()
			i.mu.Unlock()
			return nil
		}
		moved := i.moved
		i.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end makes Read say io.EOF once all is read.
func (i *input) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.ended {
		i.ended = true
		i.signal()
	}
}

// Read is io.Reader's.
func (i *input) Read(b []byte) (int, error) {
	for {
		i.mu.Lock()
		switch {
		case i.closed:
			i.mu.Unlock()
			return 0, io.ErrClosedPipe
		case len(i.bytes) > 0:
			n := copy(b, i.bytes)
			if i.bytes = i.bytes[n:]; len(i.bytes) == 0 {
				i.bytes = nil
			}
			i.signal()
			i.mu.Unlock()
			return n, nil
		case i.ended || len(b) == 0:
			i.mu.Unlock()
			if len(b) == 0 {
				return 0, nil
			}
			return 0, io.EOF
		}
		moved := i.moved
		i.mu.Unlock()
		<-moved
	}
}

// Close is the reader's: it makes Read and put return.
func (i *input) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.closed {
		i.closed, i.bytes = true, nil
		i.signal()
	}
	return nil
}
