package dataplane

// fills are counts of maps that programs fill, as of the last sweep; -1: not counted yet.
type fills struct {
	flows    int // complete flows, of both entries
	entries  int // of the map
	tracks   int
	frags    int
	nexthops int
}
