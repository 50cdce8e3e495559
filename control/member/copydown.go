package member

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/cli"
)

const maxDepth = 256

// downTo copies one source from the webspace: into the destination, if that is a folder.
func (k *copier) downTo(ctx context.Context, from, to string, folder bool) error {
	there, err := k.stat(ctx, from)
	switch {
	case err != nil:
		return err
	case !there.exists:
		return &cli.Error{Code: "not-found", What: "cannot copy :" + from, Cause: "there is no such file in the webspace", Next: "lanyard ws exec -- ls -l " + path.Dir(from)}
	case there.directory && !k.recursive:
		return cli.Usage(":"+from+" is a folder", "add -r")
	}
	name := path.Base(path.Clean(from))
	if err := safeName(name); err != nil {
		if there.directory && name == "/" {
			name = "root"
		} else {
			return err
		}
	}
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		// into it
	} else if folder || strings.HasSuffix(to, string(filepath.Separator)) {
		return &cli.Error{Code: "file", What: "cannot copy to " + to, Cause: "there is no such folder here", Next: "mkdir -p " + to}
	} else {
		to, name = filepath.Split(filepath.Clean(to))
		if to == "" {
			to = "."
		}
	}
	// The webspace says what its files are called, and what they are: nothing that it says leads out of this folder.
	root, err := os.OpenRoot(to)
	if err != nil {
		return localError("cannot write to "+to, err)
	}
	defer root.Close()
	if there.directory {
		return k.downTree(ctx, root, from, name, there, 0)
	}
	return k.get(ctx, root, from, name)
}

// safeName refuses names that mean something to this machine.
func safeName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || name != filepath.Base(name) || !filepath.IsLocal(name) {
		return &cli.Error{Code: "file", What: "cannot copy a file from the webspace", Cause: "its name cannot be used here: " + name, Next: "rename it there"}
	}
	return nil
}

func (k *copier) downTree(ctx context.Context, root *os.Root, from, to string, there remoteInfo, depth int) error {
	if depth > maxDepth {
		return &cli.Error{Code: "file", What: "cannot copy :" + from, Cause: "its folders are nested too deep", Next: "copy a part of it"}
	}
	if err := root.Mkdir(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return localError("cannot make "+to, err)
	}
	list, err := k.list(ctx, from)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := safeName(e.Name); err != nil {
			return err
		}
		source, target := path.Join(from, e.Name), filepath.Join(to, e.Name)
		switch e.Type {
		case wire.TypeDirectory:
			err = k.downTree(ctx, root, source, target, remoteInfo{mode: e.Mode}, depth+1)
		case wire.TypeSymlink:
			to := value(e.Target)
			if to == "" { // a list does not always say it
				if to, err = k.readlink(ctx, source); err != nil {
					return err
				}
			}
			err = link(root, to, target)
		case wire.TypeFile:
			err = k.get(ctx, root, source, target)
		default:
			k.skip(":" + source)
		}
		if err != nil {
			return err
		}
	}
	// Last, for a folder that may not be written to could not be filled.
	if err := root.Chmod(to, permissions(there.mode, 0o755)); err != nil {
		return localError("cannot set the permissions of "+to, err)
	}
	return nil
}

// link makes a symlink, wherever it leads: nothing here goes through it.
func link(root *os.Root, target, name string) error {
	if info, err := root.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if err := root.Remove(name); err != nil {
			return localError("cannot replace "+name, err)
		}
	}
	if err := root.Symlink(target, name); err != nil {
		return localError("cannot make the symlink "+name, err)
	}
	return nil
}

// get copies a file beside its place, and then moves it there.
func (k *copier) get(ctx context.Context, root *os.Root, from, to string) error {
	resp, err := k.client.ReadFile(ctx, k.app.target(), &wire.ReadFileParams{Path: from})
	if err != nil || resp.StatusCode != 200 {
		return answer(resp, err, nil)
	}
	defer resp.Body.Close()
	if resp.Header.Get("X-Lanyard-Type") == string(wire.TypeDirectory) {
		return &cli.Error{Code: "file", What: "cannot copy :" + from, Cause: "it became a folder meanwhile", Next: "try again"}
	}
	mode := permissions(resp.Header.Get("X-Lanyard-Mode"), 0o644)
	part := to + ".part"
	f, err := root.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) { // of a copy that was interrupted
		if err = root.Remove(part); err == nil {
			f, err = root.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		}
	}
	if err != nil {
		return localError("cannot write "+to, err)
	}
	_, err = io.Copy(f, &counted{Reader: resp.Body, k: k, what: path.Base(from), total: resp.ContentLength})
	err = errors.Join(err, f.Close())
	if err != nil {
		_ = root.Remove(part)
		return errors.Join(unreachable(err))
	}
	if err := errors.Join(root.Chmod(part, mode), root.Rename(part, to)); err != nil {
		_ = root.Remove(part)
		return localError("cannot write "+to, err)
	}
	k.files++
	return nil
}
