// Package ledger remembers every wake and every sleep of a node's webspaces: when, why, how it ended, and where the time
// went. It answers "what woke it?" and "why was it slow?" long after the packet is gone.
//
// Who wakes and who puts to sleep only calls Add, which never blocks: records wait in a bounded queue for Run, which
// writes them to a bbolt file in batches. A daemon that is killed loses at most the last few milliseconds, never the
// file. The file is bounded per webspace and in total, the oldest records go first; it is knowledge about the past, so
// that one that cannot be read is put aside and begun anew.
//
// The parts: Record (record.go), Ledger with its queue (ledger.go), the file (disk.go), reading (page.go), and the sums
// since the start for /metrics (sums.go).
package ledger
