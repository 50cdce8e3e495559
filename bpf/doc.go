// Package bpf holds the programs of the dataplane in C, and their compiled form with typed Go names (bpf2go; committed, so
// that building needs no clang). LoadTc gives the tcx programs port, underlay and node; LoadXdp the XDP twin of underlay.
// The layouts of everything in maps are in types.h, the constants to set before loading in config.h, drop reasons in
// reasons.h. How a frame travels is told in docs/decisions/0001-dataplane.md.
package bpf
