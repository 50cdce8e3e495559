// Package sleep puts webspaces to sleep that nobody uses.
//
// A webspace has been idle since its last packet, its start, or the end of the last thing that held it awake, whichever
// came last. Its policy says after how long it naps (is frozen: a packet lets it go on within a millisecond) and after
// how long it sleeps (is stopped: it uses no memory). Whatever the policy says, it stays up while somebody is connected:
// a live TCP connection, an exec, a console, a transfer of files, or any other work that LXD does on it.
//
// When the node runs out of memory, the idlest of its webspaces go to sleep before their time, one after the other,
// until there is enough: gracefully, and by force when that takes too long. Those with `user.oomSkip` are spared.
//
// The parts: Keeper looks around and acts (keeper.go, act.go), the decisions are functions of what it saw (decide.go),
// Holds are Lanyard's own sessions (holds.go), Memory is the node's (memory.go), and Why tells what keeps a webspace
// awake (why.go). Freezing and stopping themselves are control/wake's, which owns the state of every endpoint.
package sleep
