package ledger

// MaxPage is the most records that one page holds.
const MaxPage = 500

// Page is a part of the ledger, the newest record first.
type Page struct {
	Records []Record
	// Next continues: give it as before. Zero: there is nothing older.
	Next uint64
}

// Of gives the records of one webspace that are older than the one with the ID before (zero: the newest), at most limit
// (zero, or too many: MaxPage). What was added a moment ago may not be in it yet.
func (l *Ledger) Of(uid int, before uint64, limit int) (Page, error) {
	return l.page(func(d *disk) (Page, error) { return d.of(uid, before, clamp(limit)) })
}

// All gives the records of every webspace of this node, in the same way.
func (l *Ledger) All(before uint64, limit int) (Page, error) {
	return l.page(func(d *disk) (Page, error) { return d.all(before, clamp(limit)) })
}

func clamp(limit int) int {
	if limit <= 0 || limit > MaxPage {
		return MaxPage
	}
	return limit
}

// Woken is how often a webspace was woken since this ledger was begun. It never falls, whatever is forgotten.
func (l *Ledger) Woken(uid int) (n uint64, err error) {
	err = l.read(func(d *disk) (err error) { n, err = d.woken(uid); return err })
	return n, err
}

// AllWoken is Woken of every webspace that ever was, by uid.
func (l *Ledger) AllWoken() (n map[int]uint64, err error) {
	err = l.read(func(d *disk) (err error) { n, err = d.allWoken(); return err })
	return n, err
}

func (l *Ledger) page(read func(*disk) (Page, error)) (p Page, err error) {
	err = l.read(func(d *disk) (err error) { p, err = read(d); return err })
	return p, err
}

func (l *Ledger) read(from func(*disk) error) error {
	l.mu.Lock()
	d, err := l.disk, l.failed
	l.mu.Unlock()
	if d != nil {
		err = from(d)
	}
	if err != nil {
		return &Problem{What: "the ledger " + l.o.File + " cannot be read", Err: err}
	}
	return nil
}
