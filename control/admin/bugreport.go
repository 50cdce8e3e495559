package admin

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/check"
	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

const (
	reportCommandTime = 10 * time.Second
	reportFileSize    = 8 << 20 // of one part; the rest is cut
)

// reportCommands are run for a bug report: what the machine says about the network, and the daemon's log. No shell.
var reportCommands = []struct {
	file string
	args []string
}{
	{"os-release.txt", []string{"cat", "/etc/os-release"}},
	{"links.txt", []string{"ip", "-d", "-s", "link"}},
	{"addresses.txt", []string{"ip", "addr"}},
	{"routes.txt", []string{"ip", "route", "show", "table", "all"}},
	{"neighbours.txt", []string{"ip", "-d", "neigh"}},
	{"fdb.txt", []string{"bridge", "fdb"}},
	{"sockets.txt", []string{"ss", "-lntup"}},
	{"nftables.txt", []string{"nft", "list", "ruleset"}},
	{"bpf-net.txt", []string{"bpftool", "net"}},
	{"bpf-links.txt", []string{"bpftool", "link"}},
	{"journal.txt", []string{"journalctl", "-u", "lanyardd-node", "-n", "5000", "--no-pager"}},
	{"unit.txt", []string{"systemctl", "status", "lanyardd-node", "--no-pager"}},
	{"lxd-cluster.txt", []string{"lxc", "cluster", "list"}},
}

func bugreportCommand(o *options) *cobra.Command {
	var file, output string
	cmd := &cobra.Command{
		Use:   "bugreport",
		Short: "Collect what a bug report should contain",
		Long: "Collect what a bug report should contain, as one .tar.gz: the status, the check with its facts, addresses, routes,\n" +
			"the daemon's log. It holds the names and addresses of webspaces and of this machine, but no keys and no packets'\n" +
			"contents: look through it before you hand it on. Parts that cannot be had say why.",
		Example: "  lanyard bugreport --output report.tar.gz",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if output == "" {
				output = "lanyard-bugreport-" + time.Now().UTC().Format("20060102-150405") + ".tar.gz"
			}
			f, err := os.OpenFile(output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return failed("cannot write the report", err, "give another file with --output")
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			p := cli.Progress{Streams: o.streams}
			defer p.End()
			if err := o.collect(cmd.Context(), f, file, p.Show); err != nil {
				return failed("cannot write the report", err, "make room on the disk of "+output)
			}
			p.End()
			if o.json {
				return o.print(map[string]string{"file": output})
			}
			_, err = fmt.Fprintln(o.streams.Out, output)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration `file` of lanyardd (default: $LANYARD_CONFIG, or else none)")
	cmd.Flags().StringVarP(&output, "output", "o", "", "`file` to write (default: lanyard-bugreport-TIME.tar.gz)")
	return cmd
}

// collect writes the report. Only errors of w end it: what cannot be found out is a part of the answer.
func (o *options) collect(ctx context.Context, w io.Writer, config string, show func(string)) error {
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	now := time.Now()
	add := func(name string, content []byte) error {
		content = content[:min(len(content), reportFileSize)]
		if err := archive.WriteHeader(&tar.Header{Name: "lanyard-bugreport/" + name, Mode: 0o600, Size: int64(len(content)), ModTime: now}); err != nil {
			return err
		}
		_, err := archive.Write(content)
		return err
	}
	show("asking lanyardd")
	errs := []error{add("version.txt", []byte(o.version+"\n")), add("status.json", o.statusPart(ctx))}
	show("looking at this machine")
	errs = append(errs, add("check.json", checkPart(ctx, config)))
	for _, c := range reportCommands {
		show(strings.Join(c.args, " "))
		errs = append(errs, add(c.file, commandPart(ctx, c.args)))
	}
	return errors.Join(append(errs, archive.Close(), zip.Close())...)
}

func (o *options) statusPart(ctx context.Context) []byte {
	c := o.client()
	defer c.Close()
	s, err := c.Status(ctx)
	return jsonPart(s, err)
}

func checkPart(ctx context.Context, file string) []byte {
	c, err := wanted(file)
	if err != nil {
		return jsonPart(nil, err)
	}
	w := want(c)
	f := check.Gather(ctx, w, askLXD(c.LXD))
	return jsonPart(map[string]any{"want": w, "facts": f, "report": check.NewReport(check.Inspect(f, w))}, nil)
}

func jsonPart(v any, err error) []byte {
	if err != nil {
		v = map[string]*nodeapi.Error{"error": threeParts(err)}
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return []byte(err.Error())
	}
	return b
}

func commandPart(ctx context.Context, args []string) []byte {
	ctx, cancel := context.WithTimeout(ctx, reportCommandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	head := fmt.Sprintf("$ %s\n", strings.Join(args, " "))
	if err != nil {
		head += "(" + err.Error() + ")\n"
	}
	return bytes.Join([][]byte{[]byte(head), out}, nil)
}
