#!/usr/bin/env bash
# Installs the Debian packages that building, testing or demonstrating Lanyard needs. Quiet when nothing is missing.
#
#   hack/install.sh build    compiler for bpf/ (regenerating it; plain `go build` needs none of this)
#   hack/install.sh test     LXD, DHCP clients, tools of the lab and the tests (includes build)
#
# Packages are kept from starting services, so that no LXD and no DHCP client comes to life on this machine.
set -euo pipefail

what=${1:-test}
go_needed=1.26

build=(clang-19 llvm-19 libbpf-dev linux-libc-dev gcc libc6-dev make git ca-certificates)
test=(lxd lxd-client bpftool iproute2 nftables tcpdump arping iputils-ping traceroute busybox-static debootstrap
	squashfs-tools xz-utils zstd cpio ethtool iperf3 curl jq isc-dhcp-client dhcpcd-base qemu-system-x86 util-linux
	libcap2-bin procps bind9-dnsutils ldnsutils musl-tools dnsperf dnsmasq-base)

case $what in
build) packages=("${build[@]}") ;;
test) packages=("${build[@]}" "${test[@]}") ;;
*)
	echo "install: '$what' is not a set of packages; use: hack/install.sh build | test" >&2
	exit 2
	;;
esac

fail() { # what failed, likely cause, next command
	printf 'install: %s\n  cause: %s\n  next:  %s\n' "$1" "$2" "$3" >&2
	exit 1
}

if ! command -v go >/dev/null; then
	fail "no Go toolchain" "go is not in PATH ($PATH)" "install Go $go_needed or newer, then: export PATH=\$PATH:/usr/local/go/bin"
fi
# Asked inside the module: Go 1.21 and newer then fetches the toolchain that go.mod wants, where it may.
go_found=$(cd "$(dirname "$0")/.." && go env GOVERSION 2>/dev/null) || go_found=$(GOTOOLCHAIN=local go env GOVERSION)
if [ "$(printf '%s\n' "go$go_needed" "$go_found" | sort -V | head -n 1)" != "go$go_needed" ]; then
	fail "Go is too old" "found $go_found, go.mod needs go$go_needed" "install Go $go_needed or newer and put it first in PATH"
fi

# Incus runs beside LXD. Debian 12 has it in its backports only.
incus=()
[ "$what" != test ] || incus=(incus-base incus-client)

absent() { # those of the packages that are not installed
	local p
	for p in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || echo "$p"
	done
}
mapfile -t missing < <(absent "${packages[@]}")
mapfile -t incus < <(absent "${incus[@]}")
[ $((${#missing[@]} + ${#incus[@]})) -eq 0 ] && exit 0

[ "$(id -u)" = 0 ] || fail "packages are missing: ${missing[*]} ${incus[*]}" "only root can install them" "sudo hack/install.sh $what"
command -v apt-get >/dev/null || fail "packages are missing: ${missing[*]}" "this is not a Debian system (no apt-get)" \
	"install the equivalents with this system's package manager"

echo "install: ${missing[*]} ${incus[*]}" >&2

# Invoke-rc.d asks this script before it starts anything; ours is taken away again, someone else's is kept.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	trap 'rm -f $policy' EXIT
fi

export DEBIAN_FRONTEND=noninteractive
quiet() { # output only when it fails
	local log
	log=$(mktemp)
	if ! "$@" >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
}
apt=(apt-get -y -q --no-install-recommends -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300)
# The lists that are here may do; they are fetched only if not.
if [ ${#missing[@]} -gt 0 ] && ! quiet "${apt[@]}" install "${missing[@]}" 2>/dev/null; then
	echo "install: refreshing the package lists" >&2
	quiet apt-get -q update || fail "apt-get update" "the package mirrors cannot be reached" "check the network, then: apt-get update"
	quiet "${apt[@]}" install "${missing[@]}" || fail "apt-get install ${missing[*]}" "see its messages above" \
		"apt-get install ${missing[*]}"
fi

# The backports of this distribution are at the mirror that its apt is configured for already. They are asked with lists of
# their own, so that this machine's apt knows them no more afterwards; only packages that are new come from there.
install_incus() {
	local codename mirror sources
	if apt-cache policy incus-base 2>/dev/null | grep -q 'Candidate: [0-9]'; then
		quiet "${apt[@]}" install "${incus[@]}" || fail "apt-get install ${incus[*]}" "see its messages above" "hack/install.sh test"
		return 0
	fi
	codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $codename" 'Component: main' | head -n 1)
	[ -n "$mirror" ] || fail "no mirror of $codename" "apt has no list of it" "apt-get update"
	sources=$(mktemp -d)
	mkdir -p "$sources/parts" "$sources/lists/partial"
	chmod -R a+rx "$sources"
	printf 'Types: deb\nURIs: %s\nSuites: %s %s-backports\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
		"$mirror" "$codename" "$codename" >"$sources/parts/incus.sources"
	apt+=(-o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$sources/parts" -o "Dir::State::lists=$sources/lists")
	quiet "${apt[@]}" update || fail "apt-get update of $codename-backports" "the package mirror cannot be reached" "check the network, then: hack/install.sh test"
	quiet "${apt[@]}" install "${incus[@]/%//$codename-backports}" || fail "apt-get install ${incus[*]}" "see its messages above" "hack/install.sh test"
	rm -rf "$sources"
}
[ ${#incus[@]} -eq 0 ] || install_incus
