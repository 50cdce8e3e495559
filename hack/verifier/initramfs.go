package verifier

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Initramfs is a set of files, absolute path to contents, all executable.
type Initramfs map[string][]byte

// Archive gives it in the "newc" cpio format, the one that the kernel unpacks
// (Documentation/driver-api/early-userspace/buffer-format.rst).
func (files Initramfs) Archive() []byte {
	var out bytes.Buffer
	inode := 0
	entry := func(name string, mode, major, minor int, data []byte) {
		inode++
		fmt.Fprintf(&out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
			inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0)
		out.WriteString(name)
		out.WriteByte(0)
		pad(&out)
		out.Write(data)
		pad(&out)
	}
	const directory, char = 0o040755, 0o020600

	dirs := map[string]bool{}
	for _, d := range []string{"/proc", "/sys", "/dev", "/tmp"} {
		dirs[d] = true
	}
	for name := range files {
		for d := path.Dir(name); d != "/"; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	for _, d := range sorted(dirs) { // sorted: a parent comes before what it holds
		entry(strings.TrimPrefix(d, "/"), directory, 0, 0, nil)
	}
	entry("dev/console", char, 5, 1, nil)
	for _, name := range sorted(files) {
		entry(strings.TrimPrefix(name, "/"), 0o100755, 0, 0, files[name])
	}
	entry("TRAILER!!!", 0, 0, 0, nil)
	return out.Bytes()
}

// AddTree puts every regular file of fsys under dir.
func (files Initramfs) AddTree(dir string, fsys fs.FS) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := fs.ReadFile(fsys, name)
		files[path.Join(dir, name)] = data
		return err
	})
}

func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
