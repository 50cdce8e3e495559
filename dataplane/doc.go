// Package dataplane owns the kernel side of a node: the LAN's bridge and VXLAN device, the eBPF maps, programs and
// links, and the little in the neighbour and forwarding tables that they need.
//
// Open adopts what an earlier daemon left pinned, or creates it; Apply makes the kernel equal to a State and touches
// only differences; Run keeps next hops, flows and the MTU true until its context ends. Close lets go of everything
// and interrupts nothing: traffic flows on without a daemon. Teardown removes all that Open and Apply ever made.
package dataplane
