# `make help` lists the targets. Everything that a target needs is installed by hack/install.sh (as root, from Debian).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-print-directory

NODES ?= 3
BIN := bin
# Systems that members have; each compiles the standard library once.
CROSS ?= darwin/amd64 darwin/arm64 windows/amd64
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
GOFLAGS_BUILD := -ldflags "-X main.version=$(VERSION)"
TOOL := go tool -modfile=hack/tools/go.mod
# One way of compiling for all but the race detector: what one target has compiled, no other (and no test) compiles again.
export CGO_ENABLED := 0
export GOFLAGS := $(strip -trimpath $(GOFLAGS))
# Further flags of go test.
TESTFLAGS ?=

.PHONY: help build generate fmt lint test test-lab bench bench-wake bench-api demo lab lab-down install clean cross FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build the daemon, the CLI and the lab into bin/
	@mkdir -p $(BIN)
	@for cmd in cmd/lanyardd cmd/lanyard-hook cmd/lanyard hack/lab/cmd/lab hack/lab/probe hack/bench; do \
		if ls $$cmd/*.go >/dev/null 2>&1; then go build $(GOFLAGS_BUILD) -o $(BIN)/ ./$$cmd; fi; \
	done

cross: ## build the CLI for the other systems that members have
	@mkdir -p $(BIN)
	@for target in $(CROSS); do \
		echo "$$target"; ext=; [ "$${target%/*}" = windows ] && ext=.exe; \
		GOOS=$${target%/*} GOARCH=$${target#*/} go build $(GOFLAGS_BUILD) -o $(BIN)/lanyard-$${target%/*}-$${target#*/}$$ext ./cmd/lanyard; \
	done

install: ## install the Debian packages that tests, lab and demo need
	@hack/install.sh test

generate: ## rebuild everything generated (bpf/ needs clang-19)
	@hack/install.sh build
	go generate ./...

fmt: ## format Go
	gofmt -w $$(git ls-files '*.go')

lint: ## gofmt, vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not formatted (make fmt):"; echo "$$out"; exit 1; }
	go vet ./...
	$(TOOL) staticcheck ./...

test: install build ## all tests, with the race detector: unit, packet tables, lab with real LXD, another kernel (root)
	hack/test.sh $(TESTFLAGS)

test-lab: install build ## only the end-to-end tests on the lab
	go test $(TESTFLAGS) -timeout 30m -v ./hack/lab/...

bench: install build ## measure against the kernel's own paths; writes docs/benchmarks/
	$(BIN)/bench
	$(BIN)/bench --dns
	go test ./control/dns -count=1 -run TestFlatMemory -v -args -flood 10000000

bench-wake: install build ## measure waking beside LXD's own start; writes docs/benchmarks/wake-<date>/
	$(BIN)/bench --wake

bench-api: install build ## measure the API with 1,000 webspaces on a real LXD; writes docs/benchmarks/api.md
	$(BIN)/bench --api

demo: install build ## bring up a lab, show the main things, take it down
	@$(BIN)/lab demo

lab: install build ## bring up NODES nodes and leave them running
	@$(BIN)/lab up --nodes $(NODES)

lab-down: build ## take down the lab, also what a killed run has left
	@$(BIN)/lab down

clean: ## remove what was built
	rm -rf $(BIN)
