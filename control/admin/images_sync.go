package admin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/simplestreams/stream"
	"github.com/lanyard-project/lanyard/webspace"
)

func imagesSyncCommand(o *imagesOptions) *cobra.Command {
	var file, as, ca, arch string
	cmd := &cobra.Command{
		Use:   "sync https://HOST/OWNER/NAME [IMAGE...]",
		Short: "Make LXD keep copies of images, and update them now",
		Long: "Make this installation's LXD fetch images from an image server and keep them up to date by itself, as\n" +
			"lxc image copy --auto-update --alias IMAGE does; without an IMAGE all of this machine's architecture. What LXD has\n" +
			"already is compared with the server now. LXD is that of the configuration (lxd.address).",
		Example: "lanyard images sync https://images.example.org/netsoc/lxd-images alpine debian\n" +
			"lanyard images sync https://images.example.org/netsoc/lxd-images debian --as standard",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if as != "" && len(args) != 2 {
				return usageError{errors.New("--as is for one image")}
			}
			c, err := wanted(file)
			if err != nil {
				return err
			}
			s, err := store(c.LXD)
			if err != nil {
				return err
			}
			pem := ""
			if ca != "" {
				b, err := os.ReadFile(ca)
				if err != nil {
					return failed("cannot read the certificate of the image server", err, "correct --ca")
				}
				pem = string(b)
			}
			names := args[1:]
			if len(names) == 0 {
				if names, err = imagesAt(cmd.Context(), args[0], pem, arch); err != nil {
					return err
				}
			}
			return syncImages(cmd.Context(), o, s, args[0], pem, as, names)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "YAML `file` of lanyardd (default $LANYARD_CONFIG, or none)")
	cmd.Flags().StringVar(&as, "as", "", "`name` of the copy in LXD (default: as on the server)")
	cmd.Flags().StringVar(&ca, "ca", "", "`file` with the certificate (PEM) that the server is known by, beside those that the machine trusts")
	cmd.Flags().StringVar(&arch, "arch", "", "`architecture` of the images, without an IMAGE (default: this machine's)")
	return cmd
}

// synced is what became of one image.
type synced struct {
	Image       string `json:"image"`
	State       string `json:"state"` // new, updated, current or failed
	Fingerprint string `json:"fingerprint,omitempty"`
	Error       string `json:"error,omitempty"`
}

func syncImages(ctx context.Context, o *imagesOptions, s *webspace.Store, server, pem, as string, names []string) error {
	p := cli.Progress{Streams: o.streams}
	all := []synced{}
	bad, err := eachImage(ctx, names, func(name string) error {
		p.Show(name + ": asking LXD")
		done, err := s.CopyImage(ctx, webspace.ImageCopy{Server: strings.TrimRight(server, "/"), Name: name, Alias: as, CA: pem}, func(text string) { p.Show(name + ": " + text) })
		out := synced{Image: name, State: "new", Fingerprint: done.Fingerprint}
		switch {
		case err != nil:
			out.State, out.Error = "failed", err.Error()
			p.End()
			if !o.json {
				Report(o.streams, err, false)
			}
		case done.Was == done.Fingerprint:
			out.State = "current"
		case done.Was != "":
			out.State = "updated"
		}
		all = append(all, out)
		return err
	})
	p.End()
	if err != nil {
		return err
	}
	if o.json {
		err = o.print(all)
	} else {
		t := cli.Table{Indent: "  ", Head: []string{"IMAGE", "STATE", "FINGERPRINT"}}
		for _, i := range all {
			style := cli.Green
			if i.Error != "" {
				style = cli.Red
			}
			t.Row(cli.Text(i.Image), cli.Styled(style, i.State), cli.Text(i.Fingerprint[:min(12, len(i.Fingerprint))]))
		}
		t.Print(o.streams)
	}
	if err == nil && bad > 0 {
		return errNo
	}
	return err
}

// imagesAt asks an image server for what it has for an architecture.
func imagesAt(ctx context.Context, server, pem, arch string) ([]string, error) {
	const next = "try it: curl %s/streams/v1/images.json"
	if arch == "" {
		arch = map[string]string{"386": "i386", "arm": "armhf", "ppc64le": "ppc64el"}[runtime.GOARCH]
	}
	if arch == "" {
		arch = runtime.GOARCH
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM([]byte(pem))
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	server = strings.TrimRight(server, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/"+stream.ImagesPath, nil)
	if err != nil {
		return nil, usageError{err}
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, failed("cannot ask the image server", err, fmt.Sprintf(next, server))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, failed("cannot ask the image server", errors.New("it answered "+resp.Status), fmt.Sprintf(next, server))
	}
	var images stream.Images
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&images); err != nil {
		return nil, failed("cannot read the list of the image server", err, fmt.Sprintf(next, server))
	}
	var names []string
	for _, p := range images.Products {
		if p.Arch == arch {
			name, _, _ := strings.Cut(p.Aliases, ",")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if names == nil {
		return nil, failed("there is nothing to copy", errors.New("the server has no image for "+arch), fmt.Sprintf(next, server))
	}
	return names, nil
}
