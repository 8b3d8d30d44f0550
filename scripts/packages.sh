#!/bin/sh
# Builds the packages of the commit that is checked out into dist: skerry_VERSION_ARCH.deb and .rpm.
set -eu

GO=${GO:-go}
NFPM=${NFPM:-"$GO run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2"}
ARCHS=${ARCHS:-"amd64 arm64"}
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
# A version without a tag sorts before all releases.
VERSION=$(git describe --tags --exact-match 2>/dev/null | sed 's/^v//' || true)
VERSION=${VERSION:-"0.0.0~$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y%m%d%H%M%S).$(git rev-parse --short=12 HEAD)"}
export SOURCE_DATE_EPOCH VERSION

DIST=${DIST:-dist}
mkdir -p "$DIST"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for ARCH in $ARCHS; do
	BINARY=$work/$ARCH/skerry
	export ARCH BINARY
	CGO_ENABLED=0 GOOS=linux GOARCH=$ARCH $GO build -trimpath -ldflags="-s -w -X main.version=$VERSION" -o "$BINARY" ./cmd/skerry
	for kind in deb rpm; do
		$NFPM package -f deploy/packages/nfpm.yaml -p "$kind" -t "$DIST/skerry_${VERSION}_$ARCH.$kind"
	done
done
