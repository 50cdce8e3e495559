package config

import (
	"fmt"
	"strings"
	"time"
)

// Sleep is when webspaces that nobody uses go to sleep. After how long is each webspace's own setting.
type Sleep struct {
	Enabled       bool          `koanf:"enabled" doc:"Let webspaces nap and sleep by their own idle times, and when memory is short. It needs wake.enabled."`
	Check         time.Duration `koanf:"check" doc:"How often to look who is idle."`
	Grace         time.Duration `koanf:"grace" doc:"How long one may take to shut down before it is stopped by force."`
	Stale         time.Duration `koanf:"stale" doc:"Connections keep a webspace awake until its last packet is this long ago: their other end is gone then. RFC 5382 asks NAT for 2h4m."`
	MinFree       int           `koanf:"min_free" doc:"MiB: when less memory is available on the node, the idlest of its webspaces go to sleep, one after the other. 0: never."`
	Stalled       int           `koanf:"stalled" doc:"Percent: the same when all processes wait for memory for this part of ten seconds (PSI, where the kernel has it), and less than a fifth of the memory is available. 0: never."`
	ReclaimAfter  time.Duration `koanf:"reclaim_after" doc:"After how long of a nap to take a webspace's memory back that can be read again from disk or swap, where the kernel can (cgroup v2). Its first answer then takes longer. 0: never."`
	PressureGrace time.Duration `koanf:"pressure_grace" doc:"As grace, when memory is short."`
}

func defaultSleep() Sleep {
	return Sleep{Enabled: true, Check: 5 * time.Second, Grace: 30 * time.Second, Stale: 2*time.Hour + 4*time.Minute,
		MinFree: 128, Stalled: 25, ReclaimAfter: 10 * time.Minute, PressureGrace: 5 * time.Second}
}

func (c *Config) checkSleep() error {
	s := c.Sleep
	for _, d := range []struct {
		key         string
		value       time.Duration
		least, most time.Duration
	}{{"check", s.Check, 100 * time.Millisecond, time.Hour}, {"grace", s.Grace, time.Second, 15 * time.Minute},
		{"stale", s.Stale, time.Minute, 30 * 24 * time.Hour}, {"pressure_grace", s.PressureGrace, time.Second, 15 * time.Minute}} {
		if d.value < d.least || d.value > d.most {
			return bad("sleep."+d.key, fmt.Sprintf("%v is not between %v and %v", d.value, d.least, d.most), "leave it at its default")
		}
	}
	switch {
	case s.ReclaimAfter < 0:
		return bad("sleep.reclaim_after", fmt.Sprintf("%v is negative", s.ReclaimAfter), "leave it at 10m")
	case s.MinFree < 0 || s.MinFree > 1<<24:
		return bad("sleep.min_free", fmt.Sprintf("%d is not between 0 and %d MiB", s.MinFree, 1<<24), "leave it at 128")
	case s.Stalled < 0 || s.Stalled > 100:
		return bad("sleep.stalled", fmt.Sprintf("%d is not between 0 and 100 percent", s.Stalled), "leave it at 25")
	}
	return nil
}

// Ledger remembers wakes and sleeps.
type Ledger struct {
	File        string `koanf:"file" doc:"Empty: ledger.db in the service's folder (systemd's StateDirectory=), or else in paths.state."`
	PerWebspace int    `koanf:"per_webspace" doc:"Records that are kept of one webspace."`
	PerNode     int    `koanf:"per_node" doc:"Records that are kept of all webspaces together; each takes about 500 bytes."`
}

func defaultLedger() Ledger { return Ledger{PerWebspace: 500, PerNode: 50000} }

func (c *Config) checkLedger() error {
	l := c.Ledger
	switch {
	case l.File != "" && !strings.HasPrefix(l.File, "/"):
		return bad("ledger.file", fmt.Sprintf("%q is no absolute path", l.File), "leave it empty")
	case l.PerWebspace < 1 || l.PerWebspace > 1<<20:
		return bad("ledger.per_webspace", fmt.Sprintf("%d is not between 1 and %d", l.PerWebspace, 1<<20), "leave it at 500")
	case l.PerNode < l.PerWebspace || l.PerNode > 1<<24:
		return bad("ledger.per_node", fmt.Sprintf("%d is not between ledger.per_webspace and %d", l.PerNode, 1<<24), "leave it at 50000")
	}
	return nil
}
