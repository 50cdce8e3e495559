// Package node is the daemon of one node: it puts the dataplane, the agent that follows LXD and the DHCP server
// together, and shows them to the administrator (admin socket) and to monitoring (/metrics, /healthz, /readyz).
//
// Each part runs on its own and is started again when it fails; the one thing that a node cannot be without is its
// dataplane, whose Open decides whether the daemon starts at all. The end of the daemon, by a signal or by a
// crash, interrupts no traffic: what is pinned goes on forwarding.
//
// Packages below: config (what is configured), nodeapi (what the admin socket speaks).
package node

//go:generate go run ./genref ../../docs/reference
