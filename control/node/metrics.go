package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lanyard-project/lanyard/dataplane"
)

// metric is one line of docs/reference/metrics.md, and makes its description.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// Names are base units; member's names are in no label, unless metrics.webspaces asks for them.
var (
	mBuild         = metric{"lanyard_build_info", "Always 1; the version of the daemon.", gauge, []string{"version"}}
	mReady         = metric{"lanyard_ready", "Whether /readyz says yes.", gauge, nil}
	mPrograms      = metric{"lanyard_programs", "Programs attached, by name and hook.", gauge, []string{"program", "hook"}}
	mDetached      = metric{"lanyard_programs_detached", "Programs that lost their interface or are missing.", gauge, nil}
	mMapEntries    = metric{"lanyard_map_entries", "Entries in a map, where they are counted.", gauge, []string{"map"}}
	mMapMax        = metric{"lanyard_map_max_entries", "Entries that a map can hold.", gauge, []string{"map"}}
	mMapBytes      = metric{"lanyard_map_memory_bytes", "Memory of a map.", gauge, []string{"map"}}
	mMTU           = metric{"lanyard_mtu_bytes", "MTU of the LAN.", gauge, nil}
	mPorts         = metric{"lanyard_ports", "Ports of this node.", gauge, nil}
	mEndpoints     = metric{"lanyard_endpoints", "Known LAN addresses.", gauge, nil}
	mForwards      = metric{"lanyard_forwards", "Forwards.", gauge, nil}
	mPeers         = metric{"lanyard_peers", "Other nodes; ready: the next hop is known.", gauge, []string{"ready"}}
	mFlows         = metric{"lanyard_flows", "Outbound flows, as of the last sweep.", gauge, nil}
	mFlowsMax      = metric{"lanyard_flows_max", "Outbound flows that the table can hold.", gauge, nil}
	mRxPackets     = metric{"lanyard_received_packets_total", "Packets that this node's webspaces received.", counter, nil}
	mRxBytes       = metric{"lanyard_received_bytes_total", "Bytes that this node's webspaces received.", counter, nil}
	mTxPackets     = metric{"lanyard_sent_packets_total", "Packets that this node's webspaces sent.", counter, nil}
	mTxBytes       = metric{"lanyard_sent_bytes_total", "Bytes that this node's webspaces sent.", counter, nil}
	mSlow          = metric{"lanyard_slow_packets_total", "Packets that took the slow path, through the kernel's bridge.", counter, nil}
	mParked        = metric{"lanyard_parked_packets_total", "Packets that were held for webspaces which could not take them yet.", counter, nil}
	mFlowsOpened   = metric{"lanyard_flows_opened_total", "Outbound flows that were opened.", counter, nil}
	mDropped       = metric{"lanyard_dropped_packets_total", "Packets dropped, by reason; see drop-reasons.md.", counter, []string{"reason"}}
	mDroppedBytes  = metric{"lanyard_dropped_bytes_total", "Bytes dropped, by reason.", counter, []string{"reason"}}
	mProblems      = metric{"lanyard_problems", "Single bad items that were skipped; see lanyard status.", gauge, nil}
	mLXD           = metric{"lanyard_lxd_connected", "Whether LXD answered when it was last asked.", gauge, nil}
	mLXDSeen       = metric{"lanyard_lxd_last_answer_timestamp_seconds", "When LXD last answered, Unix time; 0: never.", gauge, nil}
	mSyncs         = metric{"lanyard_syncs_total", "Passes from LXD into the kernel.", counter, nil}
	mSyncFailures  = metric{"lanyard_sync_failures_total", "Passes that failed.", counter, nil}
	mSyncLast      = metric{"lanyard_sync_last_success_timestamp_seconds", "When the last good pass ended, Unix time; 0: never.", gauge, nil}
	mSyncTook      = metric{"lanyard_sync_duration_seconds", "How long the last good pass took.", gauge, nil}
	mDHCPRunning   = metric{"lanyard_dhcp_running", "Whether the DHCP server listens.", gauge, nil}
	mDHCPLeases    = metric{"lanyard_dhcp_reservations", "Addresses that DHCP gives out.", gauge, nil}
	mDHCPReceived  = metric{"lanyard_dhcp_received_total", "DHCP messages of known webspaces.", counter, []string{"type"}}
	mDHCPSent      = metric{"lanyard_dhcp_sent_total", "DHCP answers.", counter, []string{"type"}}
	mDHCPDropped   = metric{"lanyard_dhcp_dropped_total", "DHCP messages without an answer, by reason.", counter, []string{"reason"}}
	mDNSRunning    = metric{"lanyard_dns_running", "Whether the name server listens; 0 also when it is not enabled.", gauge, nil}
	mDNSRecords    = metric{"lanyard_dns_records", "Names of the LAN.", gauge, nil}
	mDNSQueries    = metric{"lanyard_dns_queries_total", "Queries, by type; other: the rarer ones.", counter, []string{"type"}}
	mDNSTCP        = metric{"lanyard_dns_tcp_queries_total", "Of the queries, those by TCP.", counter, nil}
	mDNSAnswers    = metric{"lanyard_dns_answers_total", "Answers, by where they came from (zone, cache, upstream, protocol: a refusal) and code. The cache's ratio is cache / (cache + upstream).", counter, []string{"source", "code"}}
	mDNSDropped    = metric{"lanyard_dns_dropped_total", "Messages and connections without an answer, by reason.", counter, []string{"reason"}}
	mDNSCoalesced  = metric{"lanyard_dns_coalesced_total", "Questions that waited for another's answer.", counter, nil}
	mDNSPrefetched = metric{"lanyard_dns_prefetched_total", "Names that were fetched again before their time.", counter, nil}
	mDNSRebound    = metric{"lanyard_dns_rebound_total", "Answers from outside refused because they lead inside.", counter, nil}
	mDNSOverloaded = metric{"lanyard_dns_overloaded_total", "Questions refused because too many were open.", counter, nil}
	mDNSEntries    = metric{"lanyard_dns_cache_entries", "Answers in the cache.", gauge, nil}
	mDNSBytes      = metric{"lanyard_dns_cache_bytes", "Memory of the cache, about.", gauge, nil}
	mDNSOpen       = metric{"lanyard_dns_open", "Questions that wait for upstreams.", gauge, nil}
	mDNSConns      = metric{"lanyard_dns_connections", "Open TCP connections.", gauge, nil}
	mDNSUp         = metric{"lanyard_dns_upstream_up", "Whether an upstream answers.", gauge, []string{"upstream"}}
	mDNSUpAnswers  = metric{"lanyard_dns_upstream_answers_total", "Answers of an upstream.", counter, []string{"upstream"}}
	mDNSUpSeconds  = metric{"lanyard_dns_upstream_answer_seconds_total", "Time that these answers took; divided by their number the mean latency.", counter, []string{"upstream"}}
	mDNSUpFailed   = metric{"lanyard_dns_upstream_failures_total", "Questions that an upstream failed: timeout, error, bad (a failure, or of no use), tcp (it had to be asked again), forged (messages that did not fit).", counter, []string{"upstream", "kind"}}

	mWakeWebspaces = metric{"lanyard_wake_webspaces", "Webspaces of this node, by the state in which packets find them.", gauge, []string{"state"}}
	mWakeQueued    = metric{"lanyard_wake_queued", "Starts that wait for their turn.", gauge, nil}
	mWakeHeld      = metric{"lanyard_wake_held_packets", "Packets that wait for a webspace.", gauge, nil}
	mWakeHeldBytes = metric{"lanyard_wake_held_bytes", "Their bytes.", gauge, nil}
	mWakeParked    = metric{"lanyard_wake_parked_packets_total", "Packets that came for a webspace which could not take them.", counter, nil}
	mWakeInjected  = metric{"lanyard_wake_injected_packets_total", "Of these, sent on, repetitions included.", counter, nil}
	mWakeRefused   = metric{"lanyard_wake_refused_packets_total", "Of these, answered with a refusal.", counter, nil}
	mWakeDropped   = metric{"lanyard_wake_dropped_packets_total", "Of these, dropped: full (no room to wait), unverified (nobody answered the challenge), strange (not understood, or for nobody).", counter, []string{"reason"}}
	mWakeDenied    = metric{"lanyard_wake_denied_packets_total", "Of these, not let wake: never and allowlist (its rule), unverified (a datagram proves nothing), backoff (its last start has just failed), webspace and source (budgets), full.", counter, []string{"reason"}}
	mPartsDown     = metric{"lanyard_parts_down", "Parts of the daemon that failed and wait to be started again.", gauge, nil}
	mScrapeErrors  = metric{"lanyard_scrape_errors_total", "What could not be read for a scrape.", counter, []string{"source"}}
	mWsRxPackets   = metric{"lanyard_webspace_received_packets_total", "Packets that a webspace received.", counter, []string{"webspace"}}
	mWsRxBytes     = metric{"lanyard_webspace_received_bytes_total", "Bytes that a webspace received.", counter, []string{"webspace"}}
	mWsTxPackets   = metric{"lanyard_webspace_sent_packets_total", "Packets that a webspace sent.", counter, []string{"webspace"}}
	mWsTxBytes     = metric{"lanyard_webspace_sent_bytes_total", "Bytes that a webspace sent.", counter, []string{"webspace"}}
	mWsFlowsOpened = metric{"lanyard_webspace_flows_opened_total", "Outbound flows that a webspace opened.", counter, []string{"webspace"}}
	mWsDropped     = metric{"lanyard_webspace_dropped_packets_total", "Packets of a webspace that were dropped.", counter, []string{"webspace", "reason"}}
)

// everyMetric is the reference; the collector gives nothing else of its own.
func everyMetric() []metric {
	return []metric{mBuild, mReady, mPrograms, mDetached, mMapEntries, mMapMax, mMapBytes, mMTU, mPorts, mEndpoints, mForwards,
		mPeers, mFlows, mFlowsMax, mRxPackets, mRxBytes, mTxPackets, mTxBytes, mSlow, mParked, mFlowsOpened, mDropped, mDroppedBytes,
		mProblems, mLXD, mLXDSeen, mSyncs, mSyncFailures, mSyncLast, mSyncTook, mDHCPRunning, mDHCPLeases, mDHCPReceived,
		mDHCPSent, mDHCPDropped, mDNSRunning, mDNSRecords, mDNSQueries, mDNSTCP, mDNSAnswers, mDNSDropped, mDNSCoalesced, mDNSPrefetched,
		mDNSRebound, mDNSOverloaded, mDNSEntries, mDNSBytes, mDNSOpen, mDNSConns, mDNSUp, mDNSUpAnswers, mDNSUpSeconds, mDNSUpFailed,
		mWakeWebspaces, mWakeQueued, mWakeHeld, mWakeHeldBytes, mWakeParked, mWakeInjected, mWakeRefused, mWakeDropped, mWakeDenied,
		mPower, mWakeStep, mLedgerLost, mMemory, mShort, mWatched, mPartsDown, mScrapeErrors}
}

// webspaceMetrics are given only when metrics.webspaces is on.
func webspaceMetrics() []metric {
	return []metric{mWsRxPackets, mWsRxBytes, mWsTxPackets, mWsTxBytes, mWsFlowsOpened, mWsDropped}
}

// collector reads the maps when it is scraped: nothing is counted twice, and nothing runs between scrapes.
type collector struct {
	n     *Node
	descs map[string]*prometheus.Desc
	sums  *sums
}

func newCollector(n *Node) *collector {
	c := &collector{n: n, descs: make(map[string]*prometheus.Desc), sums: newSums()}
	for _, m := range append(everyMetric(), webspaceMetrics()...) {
		c.descs[m.name] = prometheus.NewDesc(m.name, m.help, m.labels, nil)
	}
	return c
}

// Describe is prometheus.Collector's.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect is prometheus.Collector's. It may run several times at once.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	give := func(m metric, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(c.descs[m.name], m.kind, value, labels...)
	}
	status, err := c.n.plane.Status()
	if err != nil {
		c.sums.failed("status")
	} else {
		c.plane(give, status)
	}
	give(mBuild, 1, c.n.version)
	give(mReady, truth(c.n.readiness(status, err).Ready))
	give(mPartsDown, float64(len(c.n.supervisor.Down())))
	c.traffic(give)
	c.drops(give)
	c.agent(give, len(status.Problems))
	c.dhcp(give)
	c.dns(give)
	c.power(give, out)
	c.wake(give)
	for source, n := range c.sums.failures() {
		give(mScrapeErrors, n, source)
	}
}

type giver func(m metric, value float64, labels ...string)

func (c *collector) plane(give giver, s dataplane.Status) {
	type at struct{ program, hook string }
	programs := make(map[at]int)
	for _, p := range s.Programs {
		if p.Attached {
			programs[at{p.Name, p.Hook}]++
		}
	}
	for k, n := range programs {
		give(mPrograms, float64(n), k.program, k.hook)
	}
	_, missing := c.n.programs(s)
	give(mDetached, float64(len(missing)))
	for _, m := range s.Maps {
		if m.Entries >= 0 {
			give(mMapEntries, float64(m.Entries), m.Name)
		}
		give(mMapMax, float64(m.Max), m.Name)
		give(mMapBytes, float64(m.Bytes), m.Name)
	}
	ready := 0
	for _, p := range s.Peers {
		if p.Ready {
			ready++
		}
	}
	give(mPeers, float64(ready), "true")
	give(mPeers, float64(len(s.Peers)-ready), "false")
	give(mMTU, float64(s.MTU))
	give(mPorts, float64(len(s.Ports)))
	give(mEndpoints, float64(len(s.Endpoints)))
	give(mForwards, float64(len(s.Forwards)))
	give(mFlows, float64(s.Flows.Entries))
	give(mFlowsMax, float64(s.Flows.Max))
}

func (c *collector) traffic(give giver) {
	counters, err := c.n.plane.Counters()
	if err != nil {
		c.sums.failed("counters")
		return
	}
	t := c.sums.traffic(counters)
	give(mRxPackets, float64(t.RxPackets))
	give(mRxBytes, float64(t.RxBytes))
	give(mTxPackets, float64(t.TxPackets))
	give(mTxBytes, float64(t.TxBytes))
	give(mSlow, float64(t.SlowPackets))
	give(mParked, float64(t.Parked))
	give(mFlowsOpened, float64(t.FlowsOpened))
	if !c.n.config.Metrics.Webspaces {
		return
	}
	for owner, t := range counters {
		if owner == "" {
			continue
		}
		give(mWsRxPackets, float64(t.RxPackets), owner)
		give(mWsRxBytes, float64(t.RxBytes), owner)
		give(mWsTxPackets, float64(t.TxPackets), owner)
		give(mWsTxBytes, float64(t.TxBytes), owner)
		give(mWsFlowsOpened, float64(t.FlowsOpened), owner)
	}
}

func (c *collector) drops(give giver) {
	drops, err := c.n.plane.Drops()
	if err != nil {
		c.sums.failed("drops")
		return
	}
	for reason, d := range c.sums.drops(drops) {
		give(mDropped, float64(d.packets), reason)
		give(mDroppedBytes, float64(d.bytes), reason)
	}
	if !c.n.config.Metrics.Webspaces {
		return
	}
	for _, d := range drops {
		if d.Owner != "" {
			give(mWsDropped, float64(d.Packets), d.Owner, d.Reason.String())
		}
	}
}

func (c *collector) agent(give giver, planeProblems int) {
	a := c.n.agent.Status()
	// The agent's problems hold those of the last Apply, the dataplane's those and what its Run is trying.
	give(mProblems, float64(max(len(a.Problems), planeProblems)+len(c.n.dhcp.Problems())))
	give(mLXD, truth(a.Connected))
	give(mLXDSeen, seconds(a.LXDSeen))
	give(mSyncs, float64(a.Runs))
	give(mSyncFailures, float64(a.Failures))
	give(mSyncLast, seconds(a.LastSync))
	give(mSyncTook, a.Duration.Seconds())
}

func (c *collector) dhcp(give giver) {
	give(mDHCPRunning, truth(c.n.dhcp.Running()))
	give(mDHCPLeases, float64(c.n.dhcp.Reservations()))
	s := c.n.dhcp.Stats()
	for _, one := range []struct {
		m      metric
		counts map[string]uint64
	}{{mDHCPReceived, s.Received}, {mDHCPSent, s.Sent}, {mDHCPDropped, s.Dropped}} {
		for label, n := range one.counts {
			give(one.m, float64(n), label)
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
