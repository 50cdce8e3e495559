package keypair

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// pair is a new certificate with its key, PEM.
func pair(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano())}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

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
	oneCert, oneKey := pair(t)
	write(f.Cert, oneCert)
	write(f.Key, oneKey)
	holds(oneCert)
	first, _ := f.Get()
	if again, _ := f.Get(); again != first {
		t.Error("it is read again, though nothing changed")
	}

	twoCert, twoKey := pair(t)
	write(f.Cert, twoCert)
	if got, err := f.Get(); got != first || err == nil {
		t.Errorf("one of two files is replaced: %v %v", got == first, err)
	}
	write(f.Key, twoKey)
	holds(twoCert)

	if err := os.Remove(f.Key); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Get(); got == nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key is gone: %v %v", got, err)
	}
}
