package keypair

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/lanyard-project/lanyard/control/keypair/keypairtest"
)

func TestGet(t *testing.T) {
	dir := t.TempDir()
	f := &Files{Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key")}
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(cert []byte) {
		t.Helper()
		block, _ := pem.Decode(cert)
		if got, err := f.Get(); err != nil || !bytes.Equal(got.Leaf.Raw, block.Bytes) {
			t.Fatalf("it gives another certificate, or none: %v", err)
		}
	}
	if got, err := f.Get(); got != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without files: %v %v", got, err)
	}
	holds(keypairtest.Write(t, f.Cert, f.Key))
	first, _ := f.Get()
	if again, _ := f.Get(); again != first {
		t.Error("it is read again, though nothing changed")
	}

	cert, key := keypairtest.New(t)
	write(f.Cert, cert)
	if got, err := f.Get(); got != first || err == nil {
		t.Errorf("one of two files is replaced: %v %v", got == first, err)
	}
	write(f.Key, key)
	holds(cert)

	if err := os.Remove(f.Key); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Get(); got == nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key is gone: %v %v", got, err)
	}
}
