package dataplane

// Counters of one webspace, or of everything without an owner (""). Received is what the webspace received.
type Counters struct {
	RxPackets   uint64 `json:"rx_packets"`
	RxBytes     uint64 `json:"rx_bytes"`
	TxPackets   uint64 `json:"tx_packets"`
	TxBytes     uint64 `json:"tx_bytes"`
	SlowPackets uint64 `json:"slow_packets"` // handed to the kernel's bridge
	FlowsOpened uint64 `json:"flows_opened"`
}

// DropCount counts the frames of one owner that were refused for one reason. Owner is "" when no webspace of this
// node is to blame.
type DropCount struct {
	Owner   string `json:"owner,omitempty"`
	Reason  Reason `json:"reason"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Counters reads the counters of all webspaces of this node, by owner.
func (d *Dataplane) Counters() (map[string]Counters, error) { return nil, errUnfinished }

// Drops reads what was refused since the maps were made.
func (d *Dataplane) Drops() ([]DropCount, error) { return nil, errUnfinished }
