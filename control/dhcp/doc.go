// Package dhcp gives each webspace of this node the one address that is recorded for its MAC (RFC 2131).
//
// There is no lease database. A lease is derived from identity: the MAC of a port says which address it has, today and
// after every restart, so there is nothing to forget, to migrate or to run out of. The client identifier is echoed
// (RFC 6842) and never used.
//
// Requests come in on the node's bridge, where the port program redirects them after it has made sure that the source
// MAC is the port's own; frames that were not redirected (another destination MAC) are ignored, so that nobody beyond a
// tunnel can ask in a webspace's name. Answers leave as raw frames by the requester's own port and are seen by
// nobody else. Everything in a request is hostile: a frame that is not exactly a request of the MAC that sent it is
// dropped under a counted reason.
package dhcp
