// Package api is what members and admins talk to: the REST API of openapi.yaml over HTTP, with websockets for commands and
// the console, and server-sent events for what happens.
//
// The document is the source: the packages wire (types), routes (paths and parameters) and client are generated from it.
// Every client of the seed system's API works against it; decision 0004 says what differs, and why.
package api

//go:generate go run ./genref ../../docs/reference/api.md
