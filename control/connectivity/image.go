package connectivity

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/control/connectivity/probe"
	"github.com/lanyard-project/lanyard/webspace"
)

// buildImage makes an LXD image (unified form) whose whole file system is one binary and empty folders. The same binary
// gives the same bytes, and so the same fingerprint.
func buildImage(binary []byte) ([]byte, error) {
	if err := static(binary); err != nil {
		return nil, err
	}
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	var errs []error
	add := func(name string, kind byte, mode int64, content []byte) {
		errs = append(errs, w.WriteHeader(&tar.Header{Name: name, Typeflag: kind, Mode: mode, Size: int64(len(content)), ModTime: time.Unix(1, 0)}))
		_, err := w.Write(content)
		errs = append(errs, err)
	}
	add("metadata.yaml", tar.TypeReg, 0o644, []byte("architecture: "+arch+"\ncreation_date: 1\nproperties: {os: lanyard, description: connectivity test}\n"))
	for _, d := range []string{"", "sbin", "etc", "proc", "sys", "dev", "run", "tmp", "root", "var"} {
		add("rootfs/"+d, tar.TypeDir, 0o755, nil)
	}
	add("rootfs"+probe.Path, tar.TypeReg, 0o755, binary)
	add("rootfs/etc/passwd", tar.TypeReg, 0o644, []byte("root:x:0:0:root:/root:/sbin/init\n"))
	errs = append(errs, w.Close())
	return b.Bytes(), errors.Join(errs...)
}

// static refuses a binary that needs a dynamic linker, which the image does not have.
func static(binary []byte) error {
	f, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		return err
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return &webspace.Problem{What: "the test image cannot be built from this binary", Cause: "it is linked dynamically",
				Next: "build it with CGO_ENABLED=0 (make build does)", Kind: webspace.ErrInvalid}
		}
	}
	return nil
}

// running is the running program, even if its file was replaced meanwhile.
const running = "/proc/self/exe"

// imageOf is the image of a binary file.
func imageOf(file string) ([]byte, error) {
	binary, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the program for the test image: %w", err)
	}
	return buildImage(binary)
}

func fingerprintOf(image []byte) string {
	sum := sha256.Sum256(image)
	return hex.EncodeToString(sum[:])
}

// importImage gives LXD the image, unless it has it, and returns the fingerprint.
func importImage(ctx context.Context, lxd LXD, file string) (string, error) {
	image, err := imageOf(file)
	if err != nil {
		return "", err
	}
	fingerprint, err := lxd.ImportImage(ctx, bytes.NewReader(image), map[string]string{"description": "lanyard connectivity test"})
	if errors.Is(err, webspace.ErrExists) || err != nil && strings.Contains(err.Error(), "same fingerprint") {
		return fingerprintOf(image), nil // another run, or a killed one, brought it
	}
	return fingerprint, err
}
