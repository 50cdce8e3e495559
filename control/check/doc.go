// Package check looks at a machine before (and while) it is a node, and says what would keep the dataplane from
// working, why, and what to do about it.
//
// It has two halves, so that the judgement can be tested without the machine: Gather reads facts (procfs, rtnetlink,
// ethtool, a trial in a network namespace of its own), and Inspect turns Facts into Results without touching anything.
// Nothing is changed on the machine; the trial's namespace disappears with the thread that made it.
package check
