// Package nodeapi is the contract between lanyardd and the tools of the machine's administrator: the JSON types of the
// admin socket, and a client for it. The server is in control/node. It imports no other package of Lanyard, so that a
// client stays small and an older client can talk to a newer daemon.
//
// The socket is a unix stream socket (DefaultSocket), mode 0600 and owned by root; the daemon also checks the peer's
// credentials. It speaks HTTP/1.1 with JSON bodies:
//
//	GET  /v1/node/status             -> Status
//	GET  /v1/node/drops?webspace=W   -> a stream of Drop, one JSON object per line (application/x-ndjson); an empty
//	                                    line now and then shows that the stream lives; without webspace: all
//	POST /v1/node/resync             -> SyncResult; looks at LXD again and applies, before it answers
//	GET  /v1/node/wakes?webspace=W&before=ID&limit=N -> WakePage; W is a name or a uid; without it: all
//	GET  /v1/node/awake?webspace=W   -> AwakeList; without webspace: all
//	GET  /v1/node/woken              -> Woken
//
// The last three are also answered to the other nodes of an LXD cluster, over HTTPS (see control/node/peering); wakes and
// awake there of one webspace only, by its uid.
//
// Every other answer than 200 carries an Error (application/problem+json).
package nodeapi
