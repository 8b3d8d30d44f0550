#!/bin/sh
# Tests the package with the last minor versions of go-zero, or with those named. It
# reaches into an internal package of go-zero's (see etcd.go), which may change.
set -eu
cd "$(dirname "$0")"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for version in ${*:-v1.8.5 v1.9.4 v1.10.3}; do
	echo "go-zero $version"
	cp go.mod "$dir/$version.mod"
	cp go.sum "$dir/$version.sum"
	export GOFLAGS="-modfile=$dir/$version.mod"
	go get "github.com/zeromicro/go-zero@$version"
	go mod tidy
	go list -m github.com/zeromicro/go-zero google.golang.org/grpc go.etcd.io/etcd/client/v3
	go test ./...
done
