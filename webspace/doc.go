// Package webspace is the model of a webspace, and its store in LXD.
//
// A webspace is the LXD container `ws-u<uid>`. Its settings are a Record: JSON in the container's `user.lanyard` key.
// LXD's database is the only truth: a reader never sees an older answer than LXD would give, unless it asks for what was
// seen last. The package is the only one that imports the LXD client library.
//
// The parts: Record and its coding (record.go, codec.go), addresses (address.go), what two webspaces must not share
// (conflict.go), and Store, which talks to LXD (store.go and its neighbours).
package webspace
