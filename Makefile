# The two commands of the README are `make run` and `make test`.

GO          ?= go
STATICCHECK ?= $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 20s

# Modules of their own, for what they depend on: see doc/adr/0017.
MODULES = client/nacos contrib/gozero test/deploy test/sdk test/tools

.PHONY: build run demo test tools lint test-kill fuzz bench bench-sdk test-deploy

build:
	$(GO) build -trimpath -o bin/skerry ./cmd/skerry

# Builds skerry, runs it with two sample services, shows them found by HTTP and DNS.
run:
	sh scripts/run.sh

# Breaks servers and the registry under a caller, and counts the calls that fail.
demo:
	$(GO) run ./examples/demo

test: tools lint
	$(GO) test -race -timeout 20m $$($(GO) list ./... | grep -v /test/)
	$(GO) test -run Simulation ./client/lb
	# One after another: they start servers again on the ports that they had.
	$(GO) test -race -timeout 20m -p 1 ./test/...
	for m in $(MODULES); do (cd $$m && $(GO) test -timeout 20m ./...) || exit 1; done

# Installs the programs that the tests run beside skerry, where they are missing.
tools:
	sh scripts/tools.sh

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt wants to change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...
	for m in $(MODULES); do (cd $$m && $(GO) vet ./... && $(STATICCHECK) ./...) || exit 1; done

# Kills skerry 100 times under load in each of the tests that do so: registrations,
# keys, and whether what clients see is linearizable. `make test` does it a few times.
test-kill:
	SKERRY_KILLS=100 $(GO) test -race -count=1 -timeout 60m -run 'TestKill|Linearizable' -v ./test/e2e

# Runs each fuzz target for FUZZTIME.
fuzz:
	GO="$(GO)" FUZZTIME=$(FUZZTIME) sh scripts/fuzz.sh

# Measures skerry beside bare servers that write the same bytes, in one run.
bench:
	$(GO) run ./test/bench

# Holds the manifests to their containers too, each run as its pod would be, and, where
# KUBEBUILDER_ASSETS names kube-apiserver and etcd, to a real API server. Needs root.
test-deploy:
	cd test/deploy && SKERRY_CONTAINERS=1 $(GO) test -count=1 -timeout 20m ./...

# Measures the SDK with real processes, beside go-zero's balancer and gRPC's round_robin,
# over five seeds, and writes doc/results/sdk.md. Takes about 40 minutes of a quiet machine.
bench-sdk:
	cd test/sdk && $(GO) run . -out ../../doc/results
