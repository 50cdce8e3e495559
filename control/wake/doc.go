// Package wake boots webspaces when a packet for them arrives, and puts them to sleep when it is told to.
//
// A webspace that is stopped keeps its address. What is sent to it the dataplane parks (Plane); the Engine holds it,
// has LXD start the webspace, and sends the same bytes on when it can answer. Nothing stands in the path before or
// after: the client sees a host that was slow once.
//
//	asleep --packet--> booting --answer--> awake --idle--> napping --packet--> awake
//	   ^                  |                  |                |
//	   +-- start failed --+                  +---- sleep -----+
//
// The parts: what the engine is told and tells (interfaces.go, target.go), what may wake (policy.go, budget.go), held
// packets (hold.go, frame.go), the queue of starts (queue.go), one boot (boot.go, ready.go), naps and sleep (nap.go,
// sleep.go), what others have LXD do (ordered.go), and what it looks at directly on the node: containers' control groups
// and networks (container.go, sockets.go).
//
// All state is guarded by one mutex, and every goroutine ends with Run.
package wake
