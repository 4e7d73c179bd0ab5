# Targets with a comment behind ## are listed by a bare "make".

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# Not stamped by go build itself: that fails where git distrusts the checkout's owner.
GOBUILD  = CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
# How long "make fuzz" runs each fuzz target.
FUZZTIME ?= 10s

.DEFAULT_GOAL := help
.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: build
build: ## build bin/warren, bin/warrenctl and bin/warrenperf, static
	$(GOBUILD) -o bin/ ./cmd/warren ./cmd/warrenctl ./cmd/warrenperf

.PHONY: gen
gen: ## write again what is generated: from the AMQP specification, the settings, the tests' rows
	go generate ./...

.PHONY: lint
lint: ## gofmt, go vet, staticcheck; generated files are up to date
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then \
		echo "not formatted (gofmt -w):"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	$(STATICCHECK) ./...
	@git rev-parse --is-inside-work-tree >/dev/null || exit 1; \
	sums() { git ls-files -coz --exclude-standard | xargs -0 sha256sum 2>/dev/null | sort -k 2; }; \
	before=$$(sums); go generate ./... || exit 1; \
	if [ "$$before" != "$$(sums)" ]; then echo "generated files were not up to date: commit what make gen changes"; exit 1; fi

.PHONY: test
test: unit integration ## all tests; installs docker and clients on Debian when they are missing

.PHONY: unit
unit: ## tests of the packages
	go test -buildvcs=false -timeout 10m $$(go list ./... | grep -v /integration)

.PHONY: integration
integration: build setup ## tests with real processes and clients, compose included
	WARREN_BIN=$(CURDIR)/bin go test -buildvcs=false -count=1 -timeout 25m -p 1 -parallel 4 ./integration/...

# Variables of integration/chaos; see its doc.go.
CHAOS_TIME ?= 10m
.PHONY: chaos
chaos: ## faults of all kinds on real clusters, judged by history, as root; CHAOS_TIME=2h CHAOS_SEED=1
	CHAOS_TIME=$(CHAOS_TIME) go test -buildvcs=false -count=1 -v -timeout 0 -run '^TestChaos$$' ./integration/chaos

# Variables of the histories in a bubble; see TestSim in node/sim_test.go.
SIM_TIME ?= 10m
.PHONY: sim
sim: ## short histories of clusters in memory, under virtual time and faults, judged; SIM_TIME=1h SIM_SEED=1
	SIM_TIME=$(SIM_TIME) go test -buildvcs=false -count=1 -v -timeout 0 -run '^TestSim$$' ./node

.PHONY: race
race: ## tests of the packages but fsm, which knows no goroutine, under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -buildvcs=false -race -timeout 15m $$(go list ./... | grep -v -e /integration -e /fsm)

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (10s)
	@set -e; for package in $$(go list ./... | grep -v /integration); do \
		tests=$$(go test -buildvcs=false -list '^Fuzz' $$package); \
		for target in $$(echo "$$tests" | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			run="go test -buildvcs=false -run ^$$ -fuzz ^$$target\$$ -fuzztime $(FUZZTIME) -fuzzminimizetime 1s -timeout 10m $$package"; \
			$$run || { echo "once more: a real finding fails again, a deadline of the fuzzer's own does not"; $$run; }; \
		done; \
	done

.PHONY: bench
bench: build ## measure three local nodes, and another broker at PEER_URIS; BENCH_ARGS="--rows 16b,rpc --runs 5"
	deploy/bench/bench.sh $(BENCH_ARGS)

.PHONY: bench-growth
bench-growth: build ## measure how cost grows, into docs/performance; GROWTH_ARGS="--time 1", GROWTH_AXES=size,queues
	deploy/bench/growth.sh $(GROWTH_ARGS)

.PHONY: release
release: ## archives of linux and macOS with checksums, in dist/; VERSION=1.2.3
	go run ./deploy/release -version '$(VERSION)'

.PHONY: dev
dev: build ## a cluster of three processes on this machine; data in .data/dev
	@bin/warren dev --nodes 3 --data-dir .data/dev

.PHONY: up
up: build setup ## a cluster of three containers: ports 5672 to 5674, 15672 to 15674
	deploy/cluster.sh up

.PHONY: kill-leader
kill-leader: ## docker kill the container that leads; "make up" starts it again
	deploy/cluster.sh kill-leader

.PHONY: down
down: ## stop the containers; their volumes stay
	deploy/cluster.sh down

# What the integration tests and the containers need of the machine.
.PHONY: setup
setup:
	deploy/setup.sh
	deploy/dockerd.sh

.PHONY: clean
clean: ## remove bin, dist and the data of "make dev"
	rm -rf bin dist .data
