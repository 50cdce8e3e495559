#!/usr/bin/env bash
# Runs all tests with the race detector, on a machine with two cores: packages that need little of it two at a time, then those
# that run LXD, other kernels or whole labs, one at a time. A test that fails is run once more, alone: real daemons on two busy
# cores are sometimes late. It fails if it fails again, and is named as flaky, with its first output, if it does not.
#
#   hack/test.sh [go test flags]        TESTS=./control/... hack/test.sh -run TestX
set -uo pipefail
cd "$(dirname "$0")/.."

tests=${TESTS:-./...}
alone='/(lxdtest|waketest|hack/lab|hack/bench|hack/verifier|control/connectivity|control/dhcp|control/node)(/|$)'
report=$(mktemp) && trap 'rm -f "$report"' EXIT

run() { # at once, packages...
	local at_once=$1 && shift
	[ $# -gt 0 ] || return 0
	go tool -modfile=hack/tools/go.mod gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg --hide-summary skipped \
		--rerun-fails=1 --rerun-fails-max-failures=8 --rerun-fails-run-root-test --rerun-fails-report "$report" \
		--packages "$*" -- -race -timeout 30m -p "$at_once" "${flags[@]}"
	local code=$?
	if [ -s "$report" ]; then
		echo "failed once and were run again:"
		cat "$report"
		: >"$report"
	fi
	return $code
}

flags=("$@")
packages=$(go list "$tests") || exit
code=0
run 2 $(grep -vE "$alone" <<<"$packages") || code=$?
run 1 $(grep -E "$alone" <<<"$packages") || code=$?
exit $code
