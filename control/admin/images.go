package admin

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/images/imagesapi"
)

// imagesOptions are the flags that all commands of `lanyard images` share.
type imagesOptions struct {
	*options
	socket string
}

func (o *imagesOptions) client() *imagesapi.Client {
	if o.socket == "" {
		o.socket = os.Getenv("LANYARD_IMAGES_SOCKET")
	}
	return imagesapi.New(o.socket)
}

func imagesCommand(base *options) *cobra.Command {
	o := &imagesOptions{options: base}
	root := &cobra.Command{
		Use:   "images",
		Short: "Look after the images that this machine serves to LXD and Incus",
		Long: "Look after the images that this machine serves to LXD and Incus (lanyardd --role images): which there are, why one is\n" +
			"not offered, what is in the cache; and make an LXD keep copies of them up to date.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&o.socket, "images-socket", "", "`socket` of the role images (default: $LANYARD_IMAGES_SOCKET, or else "+imagesapi.DefaultSocket+")")
	root.AddCommand(imagesListCommand(o), imagesVerifyCommand(o), imagesPrefetchCommand(o), imagesSyncCommand(o))
	return root
}

func imagesListCommand(o *imagesOptions) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list [OWNER/NAME]",
		Short: "List repositories, or the images of one",
		Long:  "List the repositories that were asked for, or the newest version of each image of one.",
		Example: "lanyard images list\n" +
			"lanyard images list netsoc/lxd-images --all",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := o.client()
			defer c.Close()
			if len(args) == 0 {
				s, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				if o.json {
					return o.print(s)
				}
				renderRepositories(o.streams, s)
				return nil
			}
			p := cli.Progress{Streams: o.streams}
			p.Show("asking for " + args[0])
			r, err := c.Images(cmd.Context(), args[0])
			p.End()
			if err != nil {
				return err
			}
			if o.json {
				return o.print(r)
			}
			renderImages(o.streams, r, all)
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all versions, not only the newest")
	return cmd
}

func imagesVerifyCommand(o *imagesOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "verify OWNER/NAME",
		Short: "Ask for new releases now, and say why an image is left out",
		Long: "Ask the source for new releases now, look at what is new, and say of every release that is not offered why. Exit code 3\n" +
			"if something is wrong with one.",
		Example: "lanyard images verify netsoc/lxd-images",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := o.client()
			defer c.Close()
			p := cli.Progress{Streams: o.streams}
			p.Show("asking the source of " + args[0])
			r, err := c.Verify(cmd.Context(), args[0])
			p.End()
			if err != nil {
				return err
			}
			if o.json {
				err = o.print(r)
			} else {
				renderVerify(o.streams, r)
			}
			if err == nil && (r.Error != "" || wrong(r) > 0) {
				return errNo
			}
			return err
		},
	}
}

// wrong counts what is left out for a reason that somebody should mend.
func wrong(r imagesapi.Repository) (n int) {
	for _, s := range r.Skipped {
		if !s.Old {
			n++
		}
	}
	return n
}

func imagesPrefetchCommand(o *imagesOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "prefetch OWNER/NAME [IMAGE]",
		Short: "Fetch the newest images into the cache, and check every byte",
		Long: "Fetch the files of the newest version of each image, or of one, into the cache of this server, and check their\n" +
			"checksums: the next client gets them at once. Exit code 3 if a file could not be fetched, or is not what it should be.",
		Example: "lanyard images prefetch netsoc/lxd-images alpine",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := o.client()
			defer c.Close()
			image := ""
			if len(args) > 1 {
				image = args[1]
			}
			p := cli.Progress{Streams: o.streams}
			last, err := c.Prefetch(cmd.Context(), args[0], image, func(s imagesapi.Step) {
				switch {
				case s.Error != "":
					p.End()
					fmt.Fprintln(o.streams.Err, o.streams.Paint(cli.Red, s.File+": "+s.Error))
				case o.streams.ErrTTY || s.Bytes == s.Size:
					p.Bar(s.File, s.Bytes, s.Size)
				}
			})
			p.End()
			if err != nil {
				return err
			}
			if o.json {
				err = o.print(last)
			} else {
				fmt.Fprintf(o.streams.Out, "%s in the cache, %s failed\n", cli.Count(last.Files, "file", "files"), cli.Thousands(int64(last.Bad)))
			}
			if err == nil && last.Bad > 0 {
				return errNo
			}
			return err
		},
	}
}

// eachImage calls f for every name, and goes on after failures.
func eachImage(ctx context.Context, names []string, f func(string) error) (bad int, err error) {
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return bad, err
		}
		if f(n) != nil {
			bad++
		}
	}
	return bad, nil
}
