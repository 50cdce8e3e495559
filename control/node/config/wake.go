package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Wake is who may wake webspaces that are asleep, and what that may cost.
type Wake struct {
	Enabled         bool           `koanf:"enabled" doc:"Boot a webspace when a packet for it arrives. Off: what is stopped cannot be reached."`
	Policy          string         `koanf:"policy" doc:"Which packets may, unless a webspace or forward says otherwise: any; verified (from outside, only a TCP client that has shown that it is there); allowlist; never. Neighbours on the LAN and the nodes always may, except with never."`
	Allow           []netip.Prefix `koanf:"allow" doc:"The addresses outside that may, with allowlist."`
	Starts          int            `koanf:"starts" doc:"Webspaces that are started at the same time. 0: twice the number of processors."`
	StartTimeout    time.Duration  `koanf:"start_timeout" doc:"How long LXD may take to start one. Its clients are refused then."`
	QueueTimeout    time.Duration  `koanf:"queue_timeout" doc:"How long one may wait for its turn."`
	MaxStartupDelay time.Duration  `koanf:"max_startup_delay" doc:"Upper bound of a webspace's own startupDelay: how long a packet is held for one that has started but does not answer."`
	PerSource       int            `koanf:"per_source" doc:"Webspaces that one address outside, or one webspace, may wake in a minute."`
	PerWebspace     int            `koanf:"per_webspace" doc:"Times that packets may wake one webspace in an hour."`
	HoldSYNs        int            `koanf:"hold_syns" doc:"TCP clients that may wait for one webspace."`
	HoldDatagrams   int            `koanf:"hold_datagrams" doc:"Datagrams that may wait for one webspace."`
	HoldBytes       int            `koanf:"hold_bytes" doc:"Bytes that may wait for one webspace."`
	NodeFrames      int            `koanf:"node_frames" doc:"Packets that may wait for all webspaces of the node together."`
	NodeBytes       int            `koanf:"node_bytes" doc:"Bytes that may wait for all of them."`
	StartHook       bool           `koanf:"start_hook" doc:"Start webspaces with lanyard-hook in the place of lxd callhook, some 50 ms sooner. With LXD 5.0.2 that is no snap; else it changes nothing."`
	VethHook        bool           `koanf:"veth_hook" doc:"Have lanyard-hook make the network interface of a webspace that starts, in the place of LXD, some 50 ms sooner. LXD then shows no NIC. With LXD 5.0.2 that is no snap; else it changes nothing."`
	Expedite        bool           `koanf:"expedite" doc:"While a webspace boots, have the kernel end its RCU grace periods at once (/sys/kernel/rcu_expedited), for which the start waits many times: some 100 ms sooner. The other processors are interrupted for it."`
}

func defaultWake() Wake {
	return Wake{Enabled: true, Policy: "any", Expedite: true, StartTimeout: time.Minute, QueueTimeout: time.Minute, MaxStartupDelay: time.Minute,
		PerSource: 20, PerWebspace: 60, HoldSYNs: 512, HoldDatagrams: 64, HoldBytes: 256 << 10, NodeFrames: 16384, NodeBytes: 32 << 20}
}

func (c *Config) checkWake() error {
	w := c.Wake
	if !slices.Contains([]string{"any", "verified", "allowlist", "never"}, w.Policy) {
		return bad("wake.policy", fmt.Sprintf("%q is none of any, verified, allowlist, never", w.Policy), "leave it at any")
	}
	for _, s := range []struct {
		key         string
		value       int
		least, most int
	}{{"starts", w.Starts, 0, 256}, {"per_source", w.PerSource, 1, 1 << 20}, {"per_webspace", w.PerWebspace, 1, 1 << 20},
		{"hold_syns", w.HoldSYNs, 1, 1 << 16}, {"hold_datagrams", w.HoldDatagrams, 1, 1 << 16}, {"hold_bytes", w.HoldBytes, 2048, 1 << 26},
		{"node_frames", w.NodeFrames, 1, 1 << 20}, {"node_bytes", w.NodeBytes, 2048, 1 << 30}} {
		if s.value < s.least || s.value > s.most {
			return bad("wake."+s.key, fmt.Sprintf("%d is not between %d and %d", s.value, s.least, s.most), "leave it at its default")
		}
	}
	for _, s := range []struct {
		key   string
		value time.Duration
	}{{"start_timeout", w.StartTimeout}, {"queue_timeout", w.QueueTimeout}, {"max_startup_delay", w.MaxStartupDelay}} {
		if s.value < time.Second || s.value > 15*time.Minute {
			return bad("wake."+s.key, fmt.Sprintf("%v is not between a second and 15 minutes", s.value), "leave it at its default")
		}
	}
	return nil
}
