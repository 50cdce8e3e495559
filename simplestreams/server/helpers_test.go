package server_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"testing"
)

func header(name string) tar.Header { return tar.Header{Name: name} }

func testContext(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx, cancel
}

// paddedSum is the SHA-256 of the head that TestFlatMemory makes and zeroes up to 2 GiB: hashing them takes seconds, and is
// what the server is to do once.
const paddedSum = "04e3533ea1650fb78e6243500fd8d0d69b7d5b48727e8a0ff131c3bbd52afde7"

func plainTar(t *testing.T, name, body string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body)), Typeflag: tar.TypeReg}))
	_, err := w.Write([]byte(body))
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

// gzipBomb is a metadata archive that unpacks to 100 MiB: the same piece of zeroes again and again.
func gzipBomb(t *testing.T) []byte {
	t.Helper()
	var b, zeroes bytes.Buffer
	w := tar.NewWriter(&b)
	must(t, w.WriteHeader(&tar.Header{Name: "zeroes", Mode: 0o644, Size: 100 << 20, Typeflag: tar.TypeReg}))
	var out bytes.Buffer
	zip := func(into *bytes.Buffer, data []byte) {
		z := gzip.NewWriter(into)
		_, err := z.Write(data)
		must(t, err)
		must(t, z.Close())
	}
	zip(&out, b.Bytes())
	zip(&zeroes, make([]byte, 1<<20))
	for range 100 {
		out.Write(zeroes.Bytes())
	}
	return out.Bytes()
}
