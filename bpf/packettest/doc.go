// Package packettest runs the eBPF programs of package bpf on single frames, with BPF_PROG_TEST_RUN, and says what
// became of each: verdict, bytes, drop reason, changes of the flow tables.
//
// It was written from docs/decisions/0001-dataplane.md, not from the C: a second reading of the same page. It never
// skips: without the privilege to load programs (root, or CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN) it fails.
package packettest
