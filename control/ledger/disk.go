package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// The file's buckets. Numbers in keys are big-endian, so that keys are in the order of numbers.
var (
	bRecords = []byte("records") // ID -> Record as JSON
	bOf      = []byte("of")      // uid, ID -> nothing
	bCounts  = []byte("counts")  // uid -> number of its records; 'all' -> of all
	bWakes   = []byte("wakes")   // uid -> how often it was woken, ever
	kAll     = []byte("all")
)

type disk struct{ db *bbolt.DB }

// open opens the file, or begins a new one; wait is how long a predecessor may take to let go of it. One that is damaged is put aside: the past is worth less than the present.
func open(name string, wait time.Duration, log *slog.Logger) (*disk, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, &Problem{What: "could not make the ledger's folder", Err: err}
	}
	db, err := openWhole(name, wait)
	if err != nil && !errors.Is(err, bolterrors.ErrTimeout) && !isSystem(err) {
		aside := name + ".broken"
		log.Warn("the ledger cannot be read, is put aside and begun anew", "file", name, "aside", aside, "err", err)
		if err := os.Rename(name, aside); err != nil {
			return nil, &Problem{What: "could not put the broken ledger aside", Err: err}
		}
		db, err = openWhole(name, wait)
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		err = errors.New("another process holds it")
	}
	if err != nil {
		return nil, &Problem{What: "could not open the ledger " + name, Err: err}
	}
	return &disk{db}, nil
}

// isSystem tells an error of the file system, which no other file would cure, from one of the file's content.
func isSystem(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path)
}

// openWhole opens the file and reads all of it once. bbolt may panic on what is damaged; it is bounded, so that
// looking at all of it takes milliseconds.
func openWhole(name string, wait time.Duration) (db *bbolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a file that was cut faults where it is mapped
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("it is damaged: %v", p)
		}
	}()
	db, err = bbolt.Open(name, 0o600, &bbolt.Options{Timeout: wait, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = db.Close()
		}
	}()
	if err := check(db); err != nil {
		return db, err
	}
	return db, db.Update(func(tx *bbolt.Tx) error {
		for _, b := range [][]byte{bRecords, bOf, bCounts, bWakes} {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return nil
	})
}

func check(db *bbolt.DB) error {
	return db.View(func(tx *bbolt.Tx) error {
		info, err := os.Stat(db.Path())
		if err != nil {
			return err
		}
		if info.Size() < tx.Size() { // before Check, which would fault in a goroutine of its own
			return fmt.Errorf("it has %d bytes of %d", info.Size(), tx.Size())
		}
		var first error
		for err := range tx.Check() { // all of them: the channel's sender must end
			if first == nil {
				first = err
			}
		}
		return first
	})
}

func (d *disk) close() error { return d.db.Close() }

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// ofKey is the key of a record in bOf.
func ofKey(uid int, id uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(uid)), id)
}

// put writes records in one transaction, and removes the oldest beyond the bounds.
func (d *disk) put(batch []Record, perWebspace, total int) error {
	return d.db.Update(func(tx *bbolt.Tx) error {
		t := tables{tx.Bucket(bRecords), tx.Bucket(bOf), tx.Bucket(bCounts)}
		for _, r := range batch {
			id, err := t.records.NextSequence()
			if err != nil {
				return err
			}
			r.ID = id
			text, err := json.Marshal(r)
			if err != nil {
				return err
			}
			if err := errors.Join(t.records.Put(number(id), text), t.of.Put(ofKey(r.UID, id), nil),
				t.count(number(uint64(r.UID)), 1), t.count(kAll, 1)); err != nil {
				return err
			}
			if r.woke() {
				if err := (tables{counts: tx.Bucket(bWakes)}).count(number(uint64(r.UID)), 1); err != nil {
					return err
				}
			}
			for t.counted(number(uint64(r.UID))) > uint64(perWebspace) {
				k, _ := t.of.Cursor().Seek(number(uint64(r.UID)))
				if err := t.remove(k); err != nil {
					return err
				}
			}
			for t.counted(kAll) > uint64(total) {
				k, v := t.records.Cursor().First()
				var oldest Record
				if err := json.Unmarshal(v, &oldest); err != nil {
					return err
				}
				if err := t.remove(ofKey(oldest.UID, binary.BigEndian.Uint64(k))); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

type tables struct{ records, of, counts *bbolt.Bucket }

// remove removes the record that a key of bOf names.
func (t tables) remove(key []byte) error {
	if len(key) != 16 {
		return errors.New("its index and its counts differ")
	}
	key = append([]byte(nil), key...) // bbolt's own memory moves at a change
	return errors.Join(t.of.Delete(key), t.records.Delete(key[8:]), t.count(key[:8], -1), t.count(kAll, -1))
}

func (t tables) counted(key []byte) uint64 {
	if v := t.counts.Get(key); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (t tables) count(key []byte, by int) error {
	n := int64(t.counted(key)) + int64(by)
	if n <= 0 {
		return t.counts.Delete(key)
	}
	return t.counts.Put(key, number(uint64(n)))
}

// woken reads how often a webspace was woken.
func (d *disk) woken(uid int) (n uint64, err error) {
	err = d.db.View(func(tx *bbolt.Tx) error {
		n = tables{counts: tx.Bucket(bWakes)}.counted(number(uint64(uid)))
		return nil
	})
	return n, err
}

// allWoken reads how often each webspace was woken.
func (d *disk) allWoken() (map[int]uint64, error) {
	out := make(map[int]uint64)
	return out, d.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bWakes).ForEach(func(k, v []byte) error {
			if len(k) == 8 && len(v) == 8 {
				out[int(binary.BigEndian.Uint64(k))] = binary.BigEndian.Uint64(v)
			}
			return nil
		})
	})
}

func (d *disk) all(before uint64, limit int) (Page, error) {
	var p Page
	err := d.db.View(func(tx *bbolt.Tx) error {
		records := tx.Bucket(bRecords)
		return newestFirst(records.Cursor(), nil, before, func(id uint64) (bool, error) { return p.add(records, id, limit) })
	})
	return p, err
}

func (d *disk) of(uid int, before uint64, limit int) (Page, error) {
	var p Page
	err := d.db.View(func(tx *bbolt.Tx) error {
		records := tx.Bucket(bRecords)
		return newestFirst(tx.Bucket(bOf).Cursor(), number(uint64(uid)), before,
			func(id uint64) (bool, error) { return p.add(records, id, limit) })
	})
	return p, err
}

// newestFirst walks down the keys that are prefix and an ID below before (zero: all), until each says stop.
func newestFirst(c *bbolt.Cursor, prefix []byte, before uint64, each func(id uint64) (more bool, err error)) error {
	if before == 0 {
		before = math.MaxUint64
	}
	end := append(append([]byte(nil), prefix...), number(before)...)
	k, _ := c.Seek(end)
	if k == nil {
		k, _ = c.Last()
	}
	for ; k != nil; k, _ = c.Prev() {
		if len(k) != len(end) || string(k) >= string(end) {
			continue
		}
		if string(k[:len(prefix)]) != string(prefix) {
			return nil
		}
		more, err := each(binary.BigEndian.Uint64(k[len(prefix):]))
		if !more || err != nil {
			return err
		}
	}
	return nil
}

// add puts a record on the page, or notes that there are more than fit.
func (p *Page) add(records *bbolt.Bucket, id uint64, limit int) (more bool, err error) {
	if len(p.Records) == limit {
		p.Next = p.Records[limit-1].ID
		return false, nil
	}
	var r Record
	if err := json.Unmarshal(records.Get(number(id)), &r); err != nil {
		return false, fmt.Errorf("record %d: %w", id, err)
	}
	p.Records = append(p.Records, r)
	return true, nil
}
