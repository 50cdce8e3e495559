package member

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyard-project/lanyard/control/api/wire"
	"github.com/lanyard-project/lanyard/control/cli"
)

// property is one setting of a webspace, as text.
type property struct {
	name, doc string
	get       func(wire.Config) string
	set       func(c *wire.Config, text string) error
}

// properties are in the order in which they are shown. What is set is sent as it is, zero and false too.
var properties = []property{
	{"startupDelay", "seconds that connections wait at most while it boots",
		func(c wire.Config) string { return seconds(c.StartupDelay) },
		func(c *wire.Config, s string) (err error) { c.StartupDelay, err = parseSeconds(s); return }},
	{"httpPort", "its port for HTTP",
		func(c wire.Config) string { return fmt.Sprint(value(c.HTTPPort)) },
		func(c *wire.Config, s string) error {
			n, err := strconv.ParseInt(s, 10, 32)
			port := int32(n)
			c.HTTPPort = &port
			return err
		}},
	{"sniPassthrough", "true: it has its own certificates, and gets HTTPS as it comes",
		func(c wire.Config) string { return fmt.Sprint(value(c.SniPassthrough)) },
		func(c *wire.Config, s string) error {
			b, err := strconv.ParseBool(s)
			c.SniPassthrough = &b
			return err
		}},
	{"wake.policy", "who wakes it: any, verified, allowlist or never",
		func(c wire.Config) string {
			w := value(c.Wake)
			if w.Policy == nil && w.Default != nil {
				return string(value(w.Default.Policy)) + " (the platform's)"
			}
			return string(value(w.Policy))
		},
		func(c *wire.Config, s string) error {
			p := wire.WakePolicy(s)
			wake(c).Policy = &p
			return nil
		}},
	{"wake.allow", "prefixes for the policy allowlist, with commas",
		func(c wire.Config) string {
			w := value(c.Wake)
			if w.Policy == nil && w.Default != nil && len(value(w.Default.Allow)) > 0 {
				return strings.Join(value(w.Default.Allow), ",") + " (the platform's)"
			}
			if len(value(w.Allow)) == 0 {
				return "nobody"
			}
			return strings.Join(value(w.Allow), ",")
		},
		func(c *wire.Config, s string) error {
			list := []string{}
			for one := range strings.SplitSeq(s, ",") {
				if one = strings.TrimSpace(one); one != "" && one != "nobody" {
					list = append(list, one)
				}
			}
			wake(c).Allow = &list
			return nil
		}},
	{"idle.napAfter", "seconds, or 15m: without traffic until it naps; or never",
		func(c wire.Config) string { return orNever(value(c.Idle).NapAfter) },
		func(c *wire.Config, s string) (err error) { idle(c).NapAfter, err = parseSeconds(s); return }},
	{"idle.sleepAfter", "seconds, or 2h: without traffic until it sleeps; or never",
		func(c wire.Config) string { return orNever(value(c.Idle).SleepAfter) },
		func(c *wire.Config, s string) (err error) { idle(c).SleepAfter, err = parseSeconds(s); return }},
	{"idle.oomSkip", "true: spared when memory runs short",
		func(c wire.Config) string { return fmt.Sprint(value(value(c.Idle).OomSkip)) },
		func(c *wire.Config, s string) error { b, err := strconv.ParseBool(s); idle(c).OomSkip = &b; return err }},
}

func wake(c *wire.Config) *wire.Wake {
	if c.Wake == nil {
		c.Wake = &wire.Wake{}
	}
	return c.Wake
}

func idle(c *wire.Config) *wire.Idle {
	if c.Idle == nil {
		c.Idle = &wire.Idle{}
	}
	return c.Idle
}

func seconds(f *float64) string { return strconv.FormatFloat(value(f), 'f', -1, 64) }

func orNever(f *float64) string {
	if value(f) == 0 {
		return "never"
	}
	return seconds(f)
}

// parseSeconds reads a number of seconds, a duration with its unit, or never.
func parseSeconds(s string) (*float64, error) {
	if s == "never" {
		return new(float64), nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return &f, nil
	}
	d, err := time.ParseDuration(s)
	f := d.Seconds()
	return &f, err
}

func (a *app) config() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Show or change its settings", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var got wire.Config
			resp, err := c.GetConfig(cmd.Context(), a.target())
			if err := answer(resp, err, &got); err != nil {
				return err
			}
			if asJSON(cmd) {
				return a.print(got)
			}
			for _, p := range properties {
				fmt.Fprintf(a.streams.Out, "%s %s\n", a.streams.Paint(cli.Dim, fmt.Sprintf("%-16s", p.name)), cli.Printable(p.get(got)))
			}
			return nil
		}}
	long := "Change a setting:\n"
	var names []string
	for _, p := range properties {
		long += fmt.Sprintf("\n  %-16s %s", p.name, p.doc)
		names = append(names, p.name)
	}
	cmd.AddCommand(&cobra.Command{Use: "set PROPERTY VALUE", Short: "Change a setting", Long: long, Args: cobra.ExactArgs(2), ValidArgs: names,
		Example: "lanyard ws config set httpPort 8080\nlanyard ws config set idle.napAfter 15m",
		RunE: func(cmd *cobra.Command, args []string) error {
			var change wire.Config
			known := false
			for _, p := range properties {
				if p.name != args[0] {
					continue
				}
				known = true
				if err := p.set(&change, args[1]); err != nil {
					return cli.Usage(fmt.Sprintf("%q is no value of %s: %s", args[1], p.name, p.doc), "lanyard ws config set --help")
				}
			}
			if !known {
				return cli.Usage(fmt.Sprintf("there is no property %q", args[0]), "one of "+strings.Join(names, ", "))
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			resp, err := c.UpdateConfig(cmd.Context(), a.target(), change)
			if err := answer(resp, err, nil); err != nil {
				return err
			}
			return a.say(cmd, struct{}{}, "Changed %s to %s.", args[0], args[1])
		}})
	return cmd
}

func (a *app) domains() *cobra.Command {
	cmd := &cobra.Command{Use: "domains", Short: "Show or change its domains", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.domainList(cmd)
			if err != nil {
				return err
			}
			if asJSON(cmd) {
				return a.print(list)
			}
			for _, d := range list {
				fmt.Fprintln(a.streams.Out, cli.Printable(d))
			}
			return nil
		}}
	cmd.AddCommand(
		&cobra.Command{Use: "add DOMAIN", Short: "Add a domain of your own", Args: cobra.ExactArgs(1),
			Long: "Add a domain of your own. It must have a TXT record webspace:id:NUMBER, with your number (see: lanyard whoami).",
			RunE: func(cmd *cobra.Command, args []string) error {
				c, err := a.client()
				if err != nil {
					return err
				}
				resp, err := c.AddDomain(cmd.Context(), a.target(), args[0])
				if err := answer(resp, err, nil); err != nil {
					return err
				}
				return a.say(cmd, struct{}{}, "Added %s.", args[0])
			}},
		&cobra.Command{Use: "remove DOMAIN", Aliases: []string{"delete"}, Short: "Remove a domain", Args: cobra.ExactArgs(1),
			ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
				list, _ := a.domainList(cmd)
				return list[min(1, len(list)):], cobra.ShellCompDirectiveNoFileComp // the first is the platform's
			},
			RunE: func(cmd *cobra.Command, args []string) error {
				c, err := a.client()
				if err != nil {
					return err
				}
				resp, err := c.RemoveDomain(cmd.Context(), a.target(), args[0])
				if err := answer(resp, err, nil); err != nil {
					return err
				}
				return a.say(cmd, struct{}{}, "Removed %s.", args[0])
			}},
	)
	return cmd
}

func (a *app) domainList(cmd *cobra.Command) (list []string, err error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	resp, err := c.GetDomains(cmd.Context(), a.target())
	err = answer(resp, err, &list)
	return list, err
}
