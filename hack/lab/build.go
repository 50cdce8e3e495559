package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build builds what a lab runs (lanyardd, lanyard-hook, lanyard, probe) from the sources that the caller is compiled from, into a new
// folder under the one for temporary files, for Options.BinDir. Tests use it, so that they never run what an earlier
// `make build` left. The caller removes the folder.
func Build(ctx context.Context) (dir string, err error) {
	root, err := findRoot()
	if err != nil {
		return "", err
	}
	dir, err = os.MkdirTemp("", "lanyard-bin-")
	if err != nil {
		return "", fmt.Errorf("a folder for the lab's programs: %w", err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	if err := os.Chmod(dir, 0o755); err != nil { // read from inside of containers
		return "", err
	}
	if err := build(ctx, root, dir, "", "./cmd/lanyardd", "./cmd/lanyard-hook", "./cmd/lanyard", "./hack/lab/probe"); err != nil {
		return "", err
	}
	return dir, nil
}

// BuildDaemon builds another lanyardd, with a version of its own, into a folder: what a node is upgraded to.
func BuildDaemon(ctx context.Context, dir, version string) error {
	root, err := findRoot()
	if err != nil {
		return err
	}
	return build(ctx, root, dir, version, "./cmd/lanyardd")
}

func build(ctx context.Context, root, dir, version string, packages ...string) error {
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if version != "" {
		args = append(args, "-ldflags", "-X main.version="+version)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build what the lab runs: %w: %s", err, out)
	}
	return nil
}
