package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// Options of a Store.
type Options struct {
	Dir       string
	MaxBytes  int64         // of files, partial ones included; default 20 GiB
	Downloads int           // at a time; default 4
	Retry     time.Duration // wait before the first repetition of a failed download, doubled each time; default 1 s
	Forget    time.Duration // a file whose bytes were wrong is not fetched again before; default 1 min
}

// Store is safe for concurrent use.
type Store struct {
	o     Options
	db    *bbolt.DB
	ctx   context.Context // of downloads: ends with Close
	end   context.CancelFunc
	group sync.WaitGroup
	slots chan struct{}

	mu     sync.Mutex
	closed bool
	files  map[string]*file     // by SHA-256
	flying map[string]*Download // likewise
	failed map[string]failure
	total  int64 // bytes of files
}

const buckets = "listings catalogs facts files" // all that there are

// Open opens or makes a store. A broken index is put aside, and begun anew.
func Open(o Options) (*Store, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 20 << 30
	}
	if o.Downloads <= 0 {
		o.Downloads = 4
	}
	if o.Retry <= 0 {
		o.Retry = time.Second
	}
	if o.Forget <= 0 {
		o.Forget = time.Minute
	}
	for _, d := range []string{"", "files", "partial", "new"} {
		if err := os.MkdirAll(filepath.Join(o.Dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("make the cache: %w", err)
		}
	}
	db, err := openIndex(filepath.Join(o.Dir, "index.db"))
	if err != nil {
		return nil, err
	}
	s := &Store{o: o, db: db, slots: make(chan struct{}, o.Downloads),
		files: map[string]*file{}, flying: map[string]*Download{}, failed: map[string]failure{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	if err := s.loadFiles(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func openIndex(name string) (*bbolt.DB, error) {
	open := func() (*bbolt.DB, error) {
		db, err := bbolt.Open(name, 0o600, &bbolt.Options{Timeout: 5 * time.Second, FreelistType: bbolt.FreelistMapType})
		if err != nil {
			return nil, err
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			for b := range strings.FieldsSeq(buckets) {
				if _, err := tx.CreateBucketIfNotExists([]byte(b)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, errors.Join(err, db.Close())
		}
		return db, nil
	}
	db, err := open()
	if err == nil {
		return db, nil
	}
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open %s: another process has it open", name)
	}
	if err := os.Rename(name, name+".broken"); err != nil {
		return nil, fmt.Errorf("put the broken index aside: %w", err)
	}
	if db, err = open(); err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return db, nil
}

// Close ends downloads and waits for them; their partial files stay.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.group.Wait()
	return s.db.Close()
}

// Get reads a value; false if there is none, or none that can be read.
func (s *Store) Get(bucket, key string, into any) bool {
	found := false
	_ = s.db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket([]byte(bucket)).Get([]byte(key)); b != nil {
			found = json.Unmarshal(b, into) == nil
		}
		return nil
	})
	return found
}

// Put writes a value.
func (s *Store) Put(bucket, key string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Put([]byte(key), b) })
}

// Delete removes values.
func (s *Store) Delete(bucket string, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, k := range keys {
			if err := tx.Bucket([]byte(bucket)).Delete([]byte(k)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Keys are the keys with a prefix, sorted.
func (s *Store) Keys(bucket, prefix string) []string {
	var out []string
	_ = s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucket)).Cursor()
		for k, _ := c.Seek([]byte(prefix)); k != nil && strings.HasPrefix(string(k), prefix); k, _ = c.Next() {
			out = append(out, string(k))
		}
		return nil
	})
	return out
}
