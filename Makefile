# The two commands of the README are `make run` and `make test`.

GO          ?= go
STATICCHECK ?= $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 20s


# Modules of their own, for what they depend on: see doc/adr/0017.
MODULES = client/nacos contrib/gozero test/deploy test/sdk test/tools

.PHONY: build cross dist run demo test tools lint test-kill conformance-cluster conformance-agent bootstraps storm datacenters upgrade-cluster moves packages drills fuzz bench bench-agents bench-cluster bench-sdk test-deploy

build:
	$(GO) build -trimpath -o bin/skerry ./cmd/skerry

# Checks that skerry compiles for all systems that releases are for.
cross:
	$(GO) run ./scripts/cross

# Builds a release of the commit that is checked out into the folder dist, and verifies it.
dist:
	$(GO) run ./scripts/dist

# Builds skerry, runs a server and an agent with two sample services, shows them found at
# both by HTTP and DNS.
run:
	sh scripts/run.sh

# Breaks servers and the registry under a caller, and counts the calls that fail.
demo:
	$(GO) run ./examples/demo

# The suites that wait most come first, and share the processors with the others.
test: tools lint cross
	$(GO) test -race -timeout 20m -p 2 ./test/e2e ./quorum ./test/conformance ./...
	$(GO) test -run Simulation ./client/lb ./cluster
	for m in $(MODULES); do (cd $$m && $(GO) test -timeout 20m ./...) || exit 1; done

# Installs the programs that the tests run beside skerry, where they are missing.
tools:
	sh scripts/tools.sh

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt wants to change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...
	$(GO) run ./scripts/plain ./... README.md CONTRIBUTING.md SECURITY.md ./doc/...
	for m in $(MODULES); do (cd $$m && $(GO) vet ./... && $(STATICCHECK) ./...) || exit 1; done

# Kills skerry 100 times under load in each of the tests that do so: registrations,
# keys, and whether what clients see is linearizable. `make test` does it a few times.
test-kill:
	SKERRY_KILLS=100 $(GO) test -race -count=1 -timeout 60m -run 'TestKill|Linearizable' -v ./test/e2e

# Replays all recorded answers of Consul at a server that follows, of three, each time three
# fresh ones. `make test` replays a sample.
conformance-cluster:
	SKERRY_CONFORMANCE_CLUSTER=all $(GO) test -count=1 -timeout 20m -run AtAFollower -v ./test/conformance

# Replays all recorded answers of Consul at an agent of three servers, and runs the official
# client's tests at an agent of one. `make test` has a sample of both.
conformance-agent:
	SKERRY_CONFORMANCE_AGENT=all $(GO) test -count=1 -timeout 30m -run AtAnAgent -v ./test/conformance

# Lets five servers form a cluster 200 times, while some of them are killed: about 20 minutes.
bootstraps:
	SKERRY_BOOTSTRAPS=200 $(GO) test -count=1 -timeout 0 -run TestBootstrap -v ./test/e2e

# Plays faults on three and five servers in network namespaces, each alone and then at
# random, for STORM_MINUTES. Needs root and a machine that does nothing else.
storm: export STORM_MINUTES := $(or $(STORM_MINUTES),20)
storm:
	$(GO) test -count=1 -timeout 0 -v -run TestAllStorms ./test/storm

# Breaks the network between two datacenters of three servers, and restarts one of them: 3 minutes. Needs root.
datacenters:
	STORM_DATACENTERS=all $(GO) test -count=1 -timeout 20m -v -run TestAllDatacenters ./test/storm

# Upgrades a cluster of an earlier commit under load, a process at a time, and back. Needs root. The
# first commit is the last one before join tokens.
upgrade-cluster: export STORM_UPGRADE_FROM ?= 54e33c3
upgrade-cluster:
	$(GO) test -count=1 -timeout 30m -v -run 'TestUpgrade$$' ./test/storm

# Moves plain clusters to TLS, with join tokens and with certificates of an operator's authority. `make test` does the first.
moves:
	SKERRY_MOVES=all $(GO) test -count=1 -timeout 20m -v -run TestAPlainClusterIsMoved ./test/e2e

# Builds a deb and an rpm for each of two architectures into dist.
packages:
	GO="$(GO)" sh scripts/packages.sh

# Plays all drills of `skerry drill`; `make test` plays two of them. Takes 3 minutes.
drills:
	SKERRY_DRILLS=all $(GO) test -count=1 -timeout 20m -v -run TestDrills ./test/e2e

# Runs each fuzz target for FUZZTIME.
fuzz:
	GO="$(GO)" FUZZTIME=$(FUZZTIME) sh scripts/fuzz.sh

# Measures skerry beside bare servers that write the same bytes, in one run.
bench:
	$(GO) run ./test/bench

# Measures three servers that hold one catalog, on this machine. Takes about 20 minutes and
# 8 GB of memory.
bench-cluster:
	$(GO) run ./test/bench -cluster

# Measures agents of one and of three servers, on this machine. Takes about 6 minutes.
bench-agents:
	$(GO) run ./test/bench -agents

# Holds the manifests to their containers too, each run as its pod would be, and, where
# KUBEBUILDER_ASSETS names kube-apiserver and etcd, to a real API server. Needs root.
test-deploy:
	cd test/deploy && SKERRY_CONTAINERS=1 $(GO) test -count=1 -timeout 20m ./...

# Measures the SDK with real processes, beside go-zero's balancer and gRPC's round_robin,
# over five seeds, and writes doc/results/sdk.md. Takes about 40 minutes of a quiet machine.
bench-sdk:
	cd test/sdk && $(GO) run . -out ../../doc/results
