// Package dns answers names for the webspaces of this node (RFC 1034, 1035).
//
// Names of the LAN's zone and its reverse zones come from records alone: whoever knows a webspace's record knows its
// name, asleep or awake, and nothing that a client says (a DHCP host name, an update) changes it. A name of the zone
// that no record has does not exist, and is never asked for upstream. Everything else is forwarded, and kept in a
// bounded cache for as long as its TTL says.
//
// The way of a query through the files: serve_udp.go (from the socket of udp_socket.go) and serve_tcp.go read it, wire.go takes it apart in place, answer.go
// answers it from zone.go or cache.go by copying bytes that were packed before. Only what is not known leaves this path:
// flight.go asks once however many wait, upstream.go and exchange.go bring the answer, digest.go keeps of it what
// belongs to the question and nothing else.
//
// Everything that arrives is hostile, from webspaces and from upstreams alike. A webspace has a rate and a share of the
// questions that are open at a time (limit.go); an upstream's message must fit its question in every bit that a liar would
// have to guess.
package dns
