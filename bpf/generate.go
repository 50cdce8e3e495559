package bpf

// The same clang on every machine gives the same bytes, so CI compares the output with what is committed. -mcpu=v3 has
// atomic fetch-and-add and 32-bit jumps, and is understood since kernel 5.12.

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -type drop_sample -type event -type drop_reason -type port_kind -type port_flags -type endpoint_state -type endpoint_flags -type wake_policy -type event_kind -type peer_flags -type forward_flags -type flow_kind -type flow_state -type nexthop_flags -type prefix_class -type bucket_kind -type hook Tc tc.c -- -O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-function -fno-strict-aliasing -I/usr/include/x86_64-linux-gnu
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -no-global-types Xdp xdp.c -- -O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-function -fno-strict-aliasing -I/usr/include/x86_64-linux-gnu
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -no-global-types Sockets sockets.c -- -O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-function -Wno-unused-parameter -fno-strict-aliasing -I/usr/include/x86_64-linux-gnu
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -no-global-types Binds binds.c -- -O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-function -Wno-unused-parameter -fno-strict-aliasing -I/usr/include/x86_64-linux-gnu
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -go-package bpf -type listen Listens listens.c -- -O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-function -Wno-unused-parameter -fno-strict-aliasing -I/usr/include/x86_64-linux-gnu
