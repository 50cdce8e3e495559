package packettest

// SKB is struct __sk_buff of linux/bpf.h, as BPF_PROG_TEST_RUN takes it. It accepts only some of the fields
// (net/bpf/test_run.c, convert___skb_to_skb): Mark, Priority, IngressIfindex, Ifindex, CB, Tstamp, WireLen, GSOSegs, GSOSize.
type SKB struct {
	Len            uint32
	PktType        uint32
	Mark           uint32
	QueueMapping   uint32
	Protocol       uint32
	VLANPresent    uint32
	VLANTCI        uint32
	VLANProto      uint32
	Priority       uint32
	IngressIfindex uint32
	Ifindex        uint32
	TCIndex        uint32
	CB             [5]uint32
	Hash           uint32
	TCClassID      uint32
	Data           uint32
	DataEnd        uint32
	NAPIID         uint32
	Family         uint32
	RemoteIP4      uint32
	LocalIP4       uint32
	RemoteIP6      [4]uint32
	LocalIP6       [4]uint32
	RemotePort     uint32
	LocalPort      uint32
	DataMeta       uint32
	FlowKeys       uint64
	Tstamp         uint64
	WireLen        uint32
	GSOSegs        uint32
	SK             uint64
	GSOSize        uint32
	TstampType     uint8
	_              [3]uint8
	Hwtstamp       uint64
}
