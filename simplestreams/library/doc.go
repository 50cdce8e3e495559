// Package library keeps a catalogue for each repository that is asked for. A catalogue is made once, by one goroutine,
// whoever asks; it is kept on disk and serves a restarted process too; it is refreshed in the background. When the source fails,
// what was last known is served on, up to a limit.
package library
