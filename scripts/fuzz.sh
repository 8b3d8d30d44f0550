#!/bin/sh
# Runs every fuzz target of the module for FUZZTIME (default 20s), one after another.
# Minimizing is cut short: with goroutines in the background coverage varies.
set -eu
GO=${GO:-go}
$GO list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | while read -r package; do
	$GO test -list '^Fuzz' "$package" | grep '^Fuzz' | while read -r target; do
		echo "$package $target"
		$GO test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" -fuzzminimizetime 10x "$package" </dev/null
	done
done
