// Package keypair reads a certificate and its key from files, and again when they change.
package keypair

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
)

// Files are a certificate and its key, PEM. Safe for concurrent use.
type Files struct {
	Cert, Key string

	mu    sync.Mutex
	stamp string // of the files that last was read from
	last  *tls.Certificate
}

// Get gives what the files hold now; they are read only when they have changed. While they cannot be used (one is replaced
// and the other not yet, say) it gives what was last read well, if anything was, and the error beside it.
func (f *Files) Get() (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	stamp := ""
	for _, name := range []string{f.Cert, f.Key} {
		info, err := os.Stat(name)
		if err != nil {
			return f.last, err
		}
		stamp += fmt.Sprint(info.Size(), info.ModTime().UnixNano(), ";")
	}
	if f.last != nil && stamp == f.stamp {
		return f.last, nil
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return f.last, err
	}
	f.last, f.stamp = &pair, stamp
	return f.last, nil
}
