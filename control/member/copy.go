package member

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/api/client"
	"github.com/lanyard-project/lanyard/control/cli"
)

// copier copies between here and the webspace.
type copier struct {
	app       *app
	client    *client.ClientWithResponses
	recursive bool
	progress  *cli.Progress
	done      atomic.Int64 // bytes; the HTTP client reads on its own
	files     int
}

func (a *app) copy() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "cp SOURCE... DESTINATION",
		Short: "Copy files to and from it",
		Long: `Copy files between here and the webspace. Paths in the webspace begin with a colon; those without a slash behind it begin in /root.
Permissions are kept, symlinks are copied as such, and everything in the webspace belongs to its root. A file arrives as a
whole or not at all. What is neither a file, a folder nor a symlink is left out.`,
		Example: "lanyard ws cp site.tar.gz :/srv/\nlanyard ws cp -r :/var/www ./backup\nlanyard ws cp notes.txt :",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			k := &copier{app: a, client: c, recursive: recursive, progress: &cli.Progress{Streams: a.streams}}
			err = k.all(cmd.Context(), args[:len(args)-1], args[len(args)-1])
			k.progress.End()
			if err != nil {
				return err
			}
			if asJSON(cmd) {
				return a.print(map[string]int64{"files": int64(k.files), "bytes": k.done.Load()})
			}
			if a.streams.ErrTTY {
				fmt.Fprintf(a.streams.Err, "%d files, %s\n", k.files, cli.Size(k.done.Load()))
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "copy folders with what is in them")
	return cmd
}

// remote is a path in the webspace, if that is what it is.
func remote(arg string) (string, bool) {
	p, ok := strings.CutPrefix(arg, ":")
	if !ok {
		return "", false
	}
	if !strings.HasPrefix(p, "/") {
		p = "/root/" + p
	}
	return p, true
}

func (k *copier) all(ctx context.Context, sources []string, destination string) error {
	to, up := remote(destination)
	for _, s := range sources {
		from, down := remote(s)
		if up == down {
			return cli.Usage(fmt.Sprintf("both %s and %s are on one side", s, destination), "begin the path in the webspace with a colon, as in :/root")
		}
		var err error
		if up {
			err = k.upTo(ctx, s, to, len(sources) > 1)
		} else {
			err = k.downTo(ctx, from, destination, len(sources) > 1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func localError(what string, err error) error {
	return &cli.Error{Code: "file", What: what, Cause: innermost(err), Next: "check the path and its permissions", Err: err}
}

// upTo copies one source to the webspace: into the destination, if that is a folder.
func (k *copier) upTo(ctx context.Context, source, to string, folder bool) error {
	info, err := os.Stat(source) // a symlink that is named is followed, as cp does
	if err != nil {
		return localError("cannot read "+source, err)
	}
	there, err := k.stat(ctx, to)
	if err != nil {
		return err
	}
	name := filepath.Base(filepath.Clean(source))
	if name == "." || name == ".." || name == string(filepath.Separator) {
		if abs, err := filepath.Abs(source); err == nil {
			name = filepath.Base(abs)
		}
	}
	switch {
	case there.directory:
		to = path.Join(to, name)
	case folder || strings.HasSuffix(to, "/"):
		return &cli.Error{Code: "file", What: "cannot copy to :" + to, Cause: "there is no such folder in the webspace", Next: "lanyard ws exec -- mkdir -p " + to}
	}
	if info.IsDir() {
		if !k.recursive {
			return cli.Usage(source+" is a folder", "add -r")
		}
		return k.upTree(ctx, source, to)
	}
	if !info.Mode().IsRegular() {
		return &cli.Error{Code: "file", What: "cannot copy " + source, Cause: "it is neither a file nor a folder", Next: "leave it out"}
	}
	return k.put(ctx, source, to, info)
}

// upTree copies a folder. Nothing is followed in it, so that it ends.
func (k *copier) upTree(ctx context.Context, source, to string) error {
	return filepath.WalkDir(source, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return localError("cannot read "+p, err)
		}
		rel, err := filepath.Rel(source, p)
		if err != nil {
			return localError("cannot read "+p, err)
		}
		info, err := d.Info()
		if err != nil {
			return localError("cannot read "+p, err)
		}
		target := path.Join(to, filepath.ToSlash(rel))
		switch {
		case d.IsDir():
			return k.mkdir(ctx, target, info.Mode())
		case info.Mode()&fs.ModeSymlink != 0:
			link, err := os.Readlink(p)
			if err != nil {
				return localError("cannot read "+p, err)
			}
			return k.symlink(ctx, target, filepath.ToSlash(link))
		case info.Mode().IsRegular():
			return k.put(ctx, p, target, info)
		}
		k.skip(p)
		return nil
	})
}

func (k *copier) skip(p string) {
	k.progress.End()
	fmt.Fprintf(k.app.streams.Err, "left out %s: neither a file, a folder nor a symlink\n", cli.Printable(p))
}
