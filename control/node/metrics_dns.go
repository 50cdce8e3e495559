package node

// dns gives what the name server counts; without one, only that it does not run.
func (c *collector) dns(give giver) {
	if c.n.dns == nil {
		give(mDNSRunning, 0)
		return
	}
	s := c.n.dns.Stats()
	give(mDNSRunning, truth(c.n.dns.Running()))
	give(mDNSRecords, float64(s.Records))
	for t, n := range s.Queries {
		give(mDNSQueries, float64(n), t)
	}
	for source, codes := range s.Answers {
		for code, n := range codes {
			give(mDNSAnswers, float64(n), source, code)
		}
	}
	for reason, n := range s.Dropped {
		give(mDNSDropped, float64(n), reason)
	}
	give(mDNSTCP, float64(s.TCP))
	give(mDNSCoalesced, float64(s.Coalesced))
	give(mDNSPrefetched, float64(s.Prefetched))
	give(mDNSRebound, float64(s.Rebound))
	give(mDNSOverloaded, float64(s.Overloaded))
	give(mDNSEntries, float64(s.CacheEntries))
	give(mDNSBytes, float64(s.CacheBytes))
	give(mDNSOpen, float64(s.Open))
	give(mDNSConns, float64(s.Connections))
	for _, u := range s.Upstreams {
		give(mDNSUp, truth(u.Up), u.Name)
		give(mDNSUpAnswers, float64(u.Answered), u.Name)
		give(mDNSUpSeconds, u.Took.Seconds(), u.Name)
		for kind, n := range map[string]uint64{"timeout": u.Timeouts, "error": u.Errors, "bad": u.Bad, "tcp": u.Again, "forged": u.Forged} {
			give(mDNSUpFailed, float64(n), u.Name, kind)
		}
	}
}
