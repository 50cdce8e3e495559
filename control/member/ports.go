package member

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/api/client"
	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/cli"
)

// forward is a port that is reachable from outside.
type forward struct {
	Protocol string `json:"protocol"`
	External int    `json:"external"`
	Internal int    `json:"internal"`
}

func (a *app) ports() *cobra.Command {
	cmd := &cobra.Command{Use: "ports", Short: "Show or change its forwarded ports", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.forwards(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON(cmd) {
				return a.print(list)
			}
			t := cli.Table{Head: []string{"PROTOCOL", "EXTERNAL", "INTERNAL"}}
			for _, f := range list {
				t.Row(cli.Text(f.Protocol), cli.Number(strconv.Itoa(f.External)), cli.Number(strconv.Itoa(f.Internal)))
			}
			t.Print(a.streams)
			return nil
		}}
	cmd.AddCommand(a.addPort(), a.removePort())
	return cmd
}

func (a *app) forwards(ctx context.Context) ([]forward, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	list := []forward{}
	for _, proto := range []string{"tcp", "udp"} {
		var got wire.Ports
		var resp *http.Response
		if proto == "tcp" {
			resp, err = c.GetPorts(ctx, a.target())
		} else {
			resp, err = c.GetUDPPorts(ctx, a.target())
		}
		if err := answer(resp, err, &got); err != nil {
			return nil, err
		}
		for external, internal := range got {
			if n, err := strconv.Atoi(external); err == nil {
				list = append(list, forward{proto, n, int(internal)})
			}
		}
	}
	slices.SortFunc(list, func(x, y forward) int {
		return cmp.Or(strings.Compare(x.Protocol, y.Protocol), x.External-y.External)
	})
	return list, nil
}

func port(s string) (int32, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, cli.Usage(fmt.Sprintf("%q is no port", s), "use a number from 1 to 65535")
	}
	return int32(n), nil
}

func (a *app) addPort() *cobra.Command {
	var external string
	var udp bool
	cmd := &cobra.Command{Use: "add INTERNAL", Short: "Forward a port from outside to one of its own", Args: cobra.ExactArgs(1),
		Long: "Forward a port from outside to one of its own. Without --external it is one that is free; a program that reads this gets its number alone.",
		RunE: func(cmd *cobra.Command, args []string) error {
			internal, err := port(args[0])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			out := forward{"tcp", 0, int(internal)}
			if udp {
				out.Protocol = "udp"
			}
			if external != "" {
				n, err := port(external)
				if err != nil {
					return err
				}
				out.External = int(n)
				add := c.AddPort
				if udp {
					add = c.AddUDPPort
				}
				resp, err := add(cmd.Context(), a.target(), n, internal)
				if err := answer(resp, err, nil); err != nil {
					return err
				}
			} else if out.External, err = a.randomPort(cmd.Context(), c, internal, udp); err != nil {
				return err
			}
			if !asJSON(cmd) && !a.streams.OutTTY {
				_, err := fmt.Fprintln(a.streams.Out, out.External)
				return err
			}
			return a.say(cmd, out, "Port %d from outside is now port %d of the webspace (%s).", out.External, out.Internal, out.Protocol)
		}}
	cmd.Flags().StringVarP(&external, "external", "p", "", "`port` from outside (default: any that is free)")
	cmd.Flags().BoolVar(&udp, "udp", false, "UDP instead of TCP")
	return cmd
}

func (a *app) randomPort(ctx context.Context, c *client.ClientWithResponses, internal int32, udp bool) (int, error) {
	add := c.AddRandomPort
	if udp {
		add = c.AddRandomUDPPort
	}
	var got wire.AddRandomPortResponse
	resp, err := add(ctx, a.target(), internal)
	err = answer(resp, err, &got)
	return int(got.EPort), err
}

func (a *app) removePort() *cobra.Command {
	var udp bool
	cmd := &cobra.Command{Use: "remove EXTERNAL", Aliases: []string{"delete"}, Short: "Stop forwarding a port", Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			list, _ := a.forwards(cmd.Context())
			for _, f := range list {
				if (f.Protocol == "udp") == udp {
					names = append(names, strconv.Itoa(f.External))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := port(args[0])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			remove := c.RemovePort
			if udp {
				remove = c.RemoveUDPPort
			}
			resp, err := remove(cmd.Context(), a.target(), n)
			if err := answer(resp, err, nil); err != nil {
				return err
			}
			return a.say(cmd, struct{}{}, "Port %d is not forwarded any more.", n)
		}}
	cmd.Flags().BoolVar(&udp, "udp", false, "UDP instead of TCP")
	return cmd
}
