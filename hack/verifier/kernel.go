package verifier

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// series is the kernel that is asked. Debian 12 carries it as a backport next to its own 6.1; Debian 13 by default.
const series = "6.12"

// metapackages name, in order of preference, the packages that pull in the newest kernel of the series. The cloud
// flavour is a fifth of the full one's size and boots faster in emulation; its verifier is the same.
var metapackages = []string{
	"linux-image-" + series + "-cloud-amd64",
	"linux-image-cloud-amd64",
	"linux-image-amd64",
}

// Kernel is an unpacked Debian kernel package.
type Kernel struct {
	Name  string // package and version, e.g. linux-image-6.12.117+deb12-cloud-amd64_6.12.117-1~deb12u1
	Image string // path of the bootable image
	root  string // of the unpacked package
}

var depends = regexp.MustCompile(`(?m)^\s*Depends: (linux-image-[^\s<>]+)$`)

// Fetch finds the kernel in the cache folder, and downloads it there when it is not. Only the downloading needs the
// network; nothing needs root.
func Fetch(ctx context.Context, cache string) (Kernel, error) {
	if dir := os.Getenv("LANYARD_TEST_KERNEL"); dir != "" {
		return open(filepath.Base(dir), dir)
	}
	name, version, err := candidate(ctx)
	if err != nil {
		// Offline, or package lists gone: a kernel that was fetched before still gives a verdict.
		old, _ := filepath.Glob(filepath.Join(cache, "linux-image-"+series+"*"))
		if len(old) == 0 {
			return Kernel{}, err
		}
		return open(filepath.Base(old[len(old)-1]), old[len(old)-1])
	}
	id := name + "_" + strings.ReplaceAll(version, ":", "%3a")
	dir := filepath.Join(cache, id)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := download(ctx, name+"="+version, dir); err != nil {
			return Kernel{}, err
		}
	}
	return open(id, dir)
}

// candidate asks apt which package and version of the series it would install.
func candidate(ctx context.Context) (name, version string, err error) {
	for _, meta := range metapackages {
		out, err := exec.CommandContext(ctx, "apt-cache", "depends", "--important", meta).Output()
		if err != nil {
			continue
		}
		for _, m := range depends.FindAllStringSubmatch(string(out), -1) {
			if !strings.HasPrefix(m[1], "linux-image-"+series+".") {
				continue
			}
			out, err := exec.CommandContext(ctx, "apt-cache", "show", "--no-all-versions", m[1]).Output()
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(out)) {
				if v, ok := strings.CutPrefix(line, "Version: "); ok {
					return m[1], strings.TrimSpace(v), nil
				}
			}
		}
	}
	return "", "", fmt.Errorf("no Linux %s kernel package to test with; the package lists are probably missing or old: "+
		"run `apt-get update`, or set LANYARD_TEST_KERNEL to an unpacked kernel package", series)
}

// download unpacks one package into dir, which appears only when it is complete.
func download(ctx context.Context, spec, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".fetching-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)

	get := exec.CommandContext(ctx, "apt-get", "download", "--quiet", spec)
	get.Dir = tmp
	if out, err := get.CombinedOutput(); err != nil {
		return fmt.Errorf("download of %s: %w: the mirror may not be reachable; try `apt-get download %s`: %s", spec, err, spec, out)
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("download of %s: %d packages appeared instead of one; try `apt-get download %s`", spec, len(debs), spec)
	}
	root := filepath.Join(tmp, "root")
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", debs[0], root).CombinedOutput(); err != nil {
		return fmt.Errorf("unpacking %s: %w: is dpkg installed? %s", debs[0], err, out)
	}
	return os.Rename(root, dir)
}

func open(name, root string) (Kernel, error) {
	images, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(images) == 0 {
		return Kernel{}, fmt.Errorf("no boot/vmlinuz-* in %s: not an unpacked kernel package; remove the folder and run the test again", root)
	}
	return Kernel{Name: name, Image: images[0], root: root}, nil
}

// Module returns the decompressed contents of one module, e.g. "veth".
func (k Kernel) Module(ctx context.Context, name string) ([]byte, error) {
	var found string
	err := filepath.WalkDir(k.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base, _, ok := strings.Cut(d.Name(), ".ko"); ok && base == name {
			found = path
			return fs.SkipAll
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case found == "":
		return nil, fmt.Errorf("kernel %s has no module %s: it may be built in, or this flavour lacks it", k.Name, name)
	case strings.HasSuffix(found, ".ko"):
		return os.ReadFile(found)
	case strings.HasSuffix(found, ".xz"):
		return exec.CommandContext(ctx, "xz", "--decompress", "--stdout", found).Output()
	case strings.HasSuffix(found, ".zst"):
		return exec.CommandContext(ctx, "zstd", "--decompress", "--stdout", "--quiet", found).Output()
	}
	return nil, fmt.Errorf("module %s is packed in an unknown way", found)
}
