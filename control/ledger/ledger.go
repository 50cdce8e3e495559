package ledger

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Options of a Ledger.
type Options struct {
	File string // of the records; its folder is made

	PerWebspace int // records kept of one webspace; default 500
	Total       int // records kept of all of them; default 50,000, about 25 MB
	// Queue is how many records may wait to be written; default 4096. What does not fit is lost, and counted.
	Queue int
}

// Ledger is the wakes and sleeps of one node. Safe for concurrent use.
type Ledger struct {
	o    Options
	log  *slog.Logger
	sums *sums

	lockWait time.Duration
	wake     chan struct{} // there is something to write, or somebody waits

	mu      sync.Mutex
	disk    *disk // nil while it is not open
	failed  error // why not
	queue   []Record
	waiting []chan error // Flush
}

// New makes a ledger; Run opens its file.
func New(o Options, log *slog.Logger) *Ledger {
	if o.PerWebspace <= 0 {
		o.PerWebspace = 500
	}
	if o.Total <= 0 {
		o.Total = 50000
	}
	if o.Queue <= 0 {
		o.Queue = 4096
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Ledger{o: o, log: log, sums: newSums(), lockWait: 5 * time.Second, wake: make(chan struct{}, 1), failed: errors.New("it is not open yet")}
}

// Add notes a record. It never blocks: the record is written soon by Run, or lost when too many wait already.
func (l *Ledger) Add(r Record) {
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	r = r.bounded()
	l.mu.Lock()
	lost := len(l.queue) >= l.o.Queue
	if !lost {
		l.queue = append(l.queue, r)
	}
	l.mu.Unlock()
	l.sums.add(r, lost)
	hint(l.wake)
}

// Flush waits until everything that was added before is on the disk.
func (l *Ledger) Flush(ctx context.Context) error {
	done := make(chan error, 1)
	l.mu.Lock()
	l.waiting = append(l.waiting, done)
	l.mu.Unlock()
	hint(l.wake)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gather is how long records wait for others before a batch is written: an fsync costs more than all of them.
const gather = 5 * time.Millisecond

// Run opens the file and writes what is added, until ctx ends. Then it writes what is left and closes it. An error
// leaves the records in the queue, for the next Run.
func (l *Ledger) Run(ctx context.Context) (err error) {
	d, err := open(l.o.File, l.lockWait, l.log)
	l.set(d, err)
	if err != nil {
		return err
	}
	defer func() {
		if last := l.write(d); err == nil {
			err = last
		}
		l.set(nil, errors.New("it was closed"))
		if closed := d.close(); err == nil {
			err = closed
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		}
		t := time.NewTimer(gather)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		if err := l.write(d); err != nil {
			return err
		}
	}
}

// set notes whether the file is open. Readers that are in it are waited for by bbolt's close.
func (l *Ledger) set(d *disk, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.disk, l.failed = d, err
}

// write writes what waits.
func (l *Ledger) write(d *disk) error {
	l.mu.Lock()
	batch, waiting := l.queue, l.waiting
	l.queue, l.waiting = nil, nil
	l.mu.Unlock()
	var err error
	if len(batch) > 0 {
		if err = d.put(batch, l.o.PerWebspace, l.o.Total); err != nil {
			err = &Problem{What: "could not write the ledger " + l.o.File, Err: err}
			l.mu.Lock()
			l.queue = append(batch, l.queue...) // at most twice as long as allowed
			l.failed = err
			l.mu.Unlock()
		}
	}
	for _, w := range waiting {
		w <- err
	}
	return err
}

func hint(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}

// Problem is an error of the ledger's file.
type Problem struct {
	What string
	Err  error
}

func (p *Problem) Error() string {
	return p.What + ": " + p.Err.Error() + " (free space on its disk, or give another file: ledger.file)"
}

func (p *Problem) Unwrap() error { return p.Err }
