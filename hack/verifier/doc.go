// Package verifier asks another kernel's verifier whether it accepts the eBPF programs of this repository.
//
// The running kernel is rarely the one that users have, and every kernel's verifier accepts a different language. The
// test here takes Debian's packaged 6.12 kernel, boots it in qemu by software emulation (no KVM, no root, no network)
// with an initramfs whose first process is hack/verifier/guest, loads every object under bpf/ in it, runs the packet
// tables of bpf/ there, takes the memory of a napping process back (nap: most machines have other control groups than the one that
// this is developed on), and reads the verdict from the serial console. It takes well under two minutes.
//
// Call it with `go test ./hack/verifier`. The kernel is fetched once with `apt-get download` (which checks Debian's
// signatures) into .cache/kernel/<package>_<version>; LANYARD_TEST_KERNEL=<folder> names another unpacked kernel
// package (a folder with boot/vmlinuz-* and lib/modules or usr/lib/modules) instead.
package verifier
