package node

import (
	"fmt"
	"strings"
)

// MetricsReference is docs/reference/metrics.md.
func MetricsReference() string {
	var b strings.Builder
	b.WriteString(`<!-- Generated from control/node by go generate ./control/node. Do not edit. -->
# Metrics of a node

` + "`http://127.0.0.1:9469/metrics`" + ` (` + "`metrics.address`" + `), in Prometheus's text format. Maps are read when it is asked: nothing runs in
between. Beside the metrics below there are those of the Go runtime and of the process. On the same address:

| path | answer |
|---|---|
| ` + "`/healthz`" + ` | 200 as long as the process lives |
| ` + "`/readyz`" + ` | 200 when the programs are attached, the maps can be read and a state was applied, else 503; with every check and its detail as JSON. LXD being away is a warning there: what was last known stays in force |

Sums over webspaces never fall, also when a webspace leaves the node. What began before the daemon started is in them: the maps
outlive the daemon.

| metric | kind | labels | meaning |
|---|---|---|---|
`)
	table(&b, everyMetric())
	b.WriteString(`
## Of single webspaces
Names of webspaces say whose they are, so that these are only given with ` + "`metrics.webspaces: true`" + `.

| metric | kind | labels | meaning |
|---|---|---|---|
`)
	table(&b, webspaceMetrics())
	return b.String()
}

func table(b *strings.Builder, list []metric) {
	for _, m := range list {
		kind := "gauge"
		switch m.kind {
		case counter:
			kind = "counter"
		case histogram:
			kind = "histogram"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", m.name, kind, strings.Join(m.labels, ", "), m.help)
	}
}
