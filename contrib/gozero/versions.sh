#!/usr/bin/env bash
# Tests the package with the last minor versions of go-zero, or with those named. It
# reaches into an internal package of go-zero's (see etcd.go), which may change.
set -euo pipefail
cd "$(dirname "$0")"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for version in ${*:-v1.8.5 v1.9.4 v1.10.3}; do
	echo "go-zero $version"
	cp go.mod "$dir/$version.mod"
	cp go.sum "$dir/$version.sum"
	export GOFLAGS="-modfile=$dir/$version.mod"
	# It had no balancer but one.
	case $version in v1.8.*) GOFLAGS="$GOFLAGS -tags=gozero18" ;; esac
	go get "github.com/zeromicro/go-zero@$version"
	go mod tidy
	go build -o "$dir/demo" -tags skerry ./internal/demo
	go list -m github.com/zeromicro/go-zero google.golang.org/grpc go.etcd.io/etcd/client/v3
	go test -count=1 -v . | grep -v '^=== '
done
