#!/bin/sh
# Makes a fixture: builds the binary of a commit, lets it write a data folder, and packs
# that with what its API answered.
#
#	sh test/upgrade/make.sh COMMIT NAME [-store=false]
#
# -store=false is for commits without keys and access control.
set -eu
commit=$1
name=$2
shift 2
cd "$(dirname "$0")/../.."
tree=$(mktemp -d)
leave() {
	git worktree remove --force "$tree/src" 2>/dev/null || true
	rm -rf "$tree"
}
trap leave EXIT
git worktree add --quiet --detach "$tree/src" "$commit"
(cd "$tree/src" && CGO_ENABLED=0 go build -buildvcs=false -o "$tree/skerry" ./cmd/skerry)
go run ./test/upgrade/fill -binary "$tree/skerry" -commit "$(git rev-parse --short "$commit")" -out "test/upgrade/testdata/$name" "$@"
