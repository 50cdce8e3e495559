// Package store is the cache on disk: an index (bbolt) of small JSON values, and files that are named by their SHA-256.
//
// A file enters under its name only after its bytes were hashed: until then it is a partial one, which a later attempt, also
// of a later process, goes on with. Each file is fetched once at a time, whoever asks. The space is bounded: the file that
// was not used for the longest time goes first. All of it can be thrown away; it is then fetched again.
package store
