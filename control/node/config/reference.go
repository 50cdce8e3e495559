package config

import (
	"fmt"
	"strings"
)

// Reference is docs/reference/config.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(`<!-- Generated from control/node/config by go generate ./control/node. Do not edit. -->
# Settings of a node

` + "`lanyardd node --config FILE`" + ` reads YAML. Every key can also be given in the environment and as a flag; a flag wins over the
environment, the environment over the file, the file over the default. In the environment and in flags lists are
separated by commas. An unknown key is an error that names the nearest one. Durations have a unit: ` + "`90s`, `2h`, `1h30m`" + `.

| key | environment | flag |
|---|---|---|
| ` + "`lan.prefix` | `LANYARD_LAN_PREFIX` | `--lan-prefix`" + ` |

and so on for all of them: dots become underscores or dashes. ` + "`lanyardd node --print-config`" + ` shows what is in effect, with
what was found out by itself filled in, as a file that could be used.

A change takes effect with the next start of the daemon, which interrupts no traffic.

`)
	for _, s := range Sections() {
		fmt.Fprintf(&b, "## %s\n%s\n\n| key | kind | default | meaning |\n|---|---|---|---|\n", s.Name, s.Doc)
		for _, k := range s.Keys {
			def := ""
			if k.Default != "" {
				def = "`" + k.Default + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Path, k.Kind, def, k.Doc)
		}
		b.WriteString("\n")
		if s.Name != "peers" {
			continue
		}
		b.WriteString("Each element of `peers.list`:\n\n| key | kind | meaning |\n|---|---|---|\n")
		for _, k := range PeerKeys() {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.Path, k.Kind, k.Doc)
		}
		b.WriteString("\n")
	}
	b.WriteString("## Example\nA node of three, with a list of the others:\n\n```yaml\n" + Example + "```\n")
	return b.String()
}

// Example is a configuration file that a test reads.
const Example = `node:
  index: 1
peers:
  list:
  - {name: node2, vtep: 192.0.2.2, index: 2, forwards: [192.0.2.2]}
  - {name: node3, vtep: 192.0.2.3, index: 3, forwards: [192.0.2.3]}
egress:
  allow: [10.20.0.0/24] # an intranet that webspaces may use
dns:
  upstreams: [10.20.9.53] # only nodes need to reach it
`
