// Package cli is what Lanyard's command lines have in common: streams and colour, tables, progress, errors of three parts,
// and exit codes. It compiles wherever Go does.
//
// Data goes to stdout, progress and errors to stderr. Every string that came from somewhere else is made printable before it
// meets a terminal.
package cli
