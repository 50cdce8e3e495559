package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Build builds what a lab runs (lanyardd, lanyard-hook, lanyard, probe) from the sources that the caller is compiled from, into a new
// folder under the one for temporary files, for Options.BinDir. Tests use it, so that they never run what an earlier
// `make build` left. The caller removes the folder.
func Build(ctx context.Context) (dir string, err error) {
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
	if err := build(ctx, dir, "", "./cmd/lanyardd", "./cmd/lanyard-hook", "./cmd/lanyard", "./hack/lab/probe"); err != nil {
		return "", err
	}
	return dir, nil
}

// BuildDaemon builds another lanyardd, with a version of its own, into a folder: what a node is upgraded to.
func BuildDaemon(ctx context.Context, dir, version string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return build(ctx, dir, version, "./cmd/lanyardd")
}

// build gives copies: the programs themselves stay in .cache/, where go build links none again that is there and current, for
// whichever test asks.
func build(ctx context.Context, dir, version string, packages ...string) error {
	root, err := findRoot()
	if err != nil {
		return err
	}
	kept := filepath.Join(root, ".cache", "bin", version)
	if err := os.MkdirAll(kept, 0o755); err != nil {
		return err
	}
	unlock, err := lock(ctx, kept, 10*time.Minute)
	if err != nil {
		return fmt.Errorf("build what the lab runs: %w", err)
	}
	defer unlock()
	// As `make build` compiles, so that it is not done twice: nothing in the cache of builds serves two ways of compiling.
	args := []string{"build", "-trimpath", "-o", kept + string(filepath.Separator)}
	if version != "" {
		args = append(args, "-ldflags", "-X main.version="+version)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build what the lab runs: %w: %s", err, out)
	}
	for _, p := range packages {
		if err := copyProgram(filepath.Join(dir, filepath.Base(p)), filepath.Join(kept, filepath.Base(p))); err != nil {
			return fmt.Errorf("build what the lab runs: %w", err)
		}
	}
	return nil
}

func copyProgram(to, from string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		w.Close()
		return err
	}
	return w.Close()
}
