package lab

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Debian is the alias of the image with systemd and the usual DHCP clients.
const Debian = "debian"

//go:embed mkdebian.sh
var mkdebian []byte

// ImportDebian gives the Debian image to the cluster, and builds it first where it must be.
func (l *Lab) ImportDebian(ctx context.Context) error {
	file, err := BuildDebian(ctx)
	if err != nil {
		return err
	}
	return l.ImportImage(ctx, file, Debian)
}

// BuildDebian gives the file of the Debian image. It is built if .cache/ has none made by the same script (about a minute,
// and downloads from this machine's own Debian mirror). Several may ask at once: one builds, and the others wait.
func BuildDebian(ctx context.Context) (file string, err error) {
	root, err := findRoot()
	if err != nil {
		return "", err
	}
	cache := filepath.Join(root, ".cache", "debian")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, cache, 10*time.Minute)
	if err != nil {
		return "", err
	}
	defer unlock()
	file = filepath.Join(cache, fmt.Sprintf("%.6x.tar", sha256.Sum256(mkdebian)))
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	return file, buildDebian(ctx, file)
}

func buildDebian(ctx context.Context, file string) error {
	mirror, err := debianMirror(ctx)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "lanyard-debian-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o755); err != nil { // debootstrap drops root for downloads
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		"/bin/bash", "-c", string(mkdebian), "mkdebian", mirror, file, work)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the Debian image: %w: %s; likely cause: the mirror %s cannot be reached; next: apt-get update",
			err, strings.TrimSpace(string(out)), mirror)
	}
	return nil
}

// debianMirror is the one that this machine's apt uses for Debian itself.
func debianMirror(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)",
		"Created-By: Packages", "Codename: bookworm", "Component: main").Output()
	if mirror := strings.Fields(string(out)); err == nil && len(mirror) > 0 {
		return mirror[0], nil
	}
	return "", fmt.Errorf("find the Debian mirror of this machine (%v); likely cause: apt has no lists of bookworm; next: apt-get update", err)
}
