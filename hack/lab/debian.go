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

// ImportDebian gives the Debian image to the cluster, building it first if .cache/ has none made by the same script
// (about two minutes, and downloads from this machine's own Debian mirror).
func (l *Lab) ImportDebian(ctx context.Context) error {
	root, err := findRoot()
	if err != nil {
		return err
	}
	cache := filepath.Join(root, ".cache")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	file := filepath.Join(cache, fmt.Sprintf("debian-%.6x.tar", sha256.Sum256(mkdebian)))
	if _, err := os.Stat(file); err != nil {
		l.log.Info("building the Debian image, once", "file", file)
		if err := buildDebian(ctx, file); err != nil {
			return err
		}
	}
	return l.ImportImage(ctx, file, Debian)
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
	script := filepath.Join(work, "mkdebian.sh")
	if err := os.WriteFile(script, mkdebian, 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		"/bin/bash", script, mirror, file, work)
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
