package webspace

import (
	"errors"
	"io"
	"io/fs"
	"sync/atomic"
)

// maxListing is what LXD may send for the list of one directory, bytes: about 100,000 entries with short names. A webspace
// may hold as many as its disk does, and each costs us memory.
const maxListing = 32 << 20

var errListing = errors.New("the directory has too many entries")

// metered is a connection of which only so much may be read while somebody counts.
type metered struct {
	io.ReadWriteCloser
	counts atomic.Bool
	left   atomic.Int64
}

func (m *metered) Read(b []byte) (int, error) {
	n, err := m.ReadWriteCloser.Read(b)
	if m.counts.Load() && m.left.Add(-int64(n)) < 0 {
		return 0, errListing
	}
	return n, err
}

// list lists a directory within a limit of bytes; one that is over it ends the connection.
func (f *fileConn) list(name string, limit int64) ([]fs.FileInfo, error) {
	m, ok := f.conn.(*metered)
	if ok {
		m.left.Store(limit)
		m.counts.Store(true)
		defer m.counts.Store(false)
	}
	all, err := f.c.ReadDir(name)
	switch {
	case err == nil:
		return all, nil
	case ok && m.left.Load() < 0:
		return nil, &Problem{What: "could not list " + name + " in webspace " + f.name, Cause: errListing.Error(), Next: "list it there: lanyard ws exec -- ls " + name, Kind: ErrInvalid, Err: err}
	}
	return nil, f.failed("list "+name, err)
}
