#!/usr/bin/env bash
# Runs all tests with the race detector, on a machine with two cores. Those that run LXD, other kernels or whole labs mostly
# wait; so they are begun first, the longest before the others, and the rest is compiled and run beside them. A test that fails
# is run once more, alone: real daemons on two busy cores are sometimes late. It fails if it fails again, and is named as flaky,
# with its first output, if it does not.
#
#   hack/test.sh [go test flags]        TESTS=./control/... hack/test.sh -run TestX
set -uo pipefail
cd "$(dirname "$0")/.."

tests=${TESTS:-./...}
first=(hack/lab hack/verifier hack/lab/waketest webspace/lxdtest hack/bench control/sleep/lxdtest control/node control/agent/lxdtest
	control/connectivity control/dhcp control/api/lxdtest simplestreams/lxdtest control/member/lxdtest)
at_once=2 # compilers, linkers, tests; more only makes real daemons late

report=$(mktemp) && trap 'rm -f "$report"' EXIT
# Compiled as `make build` compiles (see there); the tests need cgo for the race detector.
flags=${GOFLAGS:-}
gotestsum=$(CGO_ENABLED=0 GOFLAGS="-trimpath ${flags//-trimpath/}" go tool -modfile=hack/tools/go.mod -n gotestsum) || exit
export CGO_ENABLED=1 GOFLAGS=${flags//-trimpath/}

packages=$(go list "$tests") || exit
module=$(go list -m)
ordered=$({ for p in "${first[@]}"; do grep -x "$module/$p" <<<"$packages"; done; echo "$packages"; } | awk '!seen[$0]++')
if grep -qxE "$module/hack/lab(/waketest)?" <<<"$packages"; then # most of it is downloads
	CGO_ENABLED=0 go run -trimpath ./hack/lab/cmd/lab image &
	image=$!
	trap 'rm -f "$report"; kill $image 2>/dev/null' EXIT
fi

# The linter vets; and a binary without a debugger's tables is linked in two thirds of the time.
"$gotestsum" --format pkgname-and-test-fails --format-hide-empty-pkg --hide-summary skipped \
	--rerun-fails=1 --rerun-fails-max-failures=8 --rerun-fails-run-root-test --rerun-fails-report "$report" \
	--packages "${ordered//$'\n'/ }" -- -race -vet=off '-ldflags=-s -w' -timeout 30m -p "$at_once" "$@"
code=$?
if [ -s "$report" ]; then
	echo "failed once and were run again:"
	cat "$report"
fi
exit $code
