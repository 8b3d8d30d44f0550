// Package docs runs the examples in the documents: see docs_test.go.
package docs

import (
	"os"
	"strings"
	"testing"
)

// block is an example: indented lines, or the lines between ``` marks.
type block struct {
	file string
	text string
}

// name is the file and the first line of the block.
func (b block) name() string {
	first, _, _ := strings.Cut(b.text, "\n")
	return b.file + ": " + first
}

// blocks returns the examples in a document.
func blocks(t *testing.T, root, file string) (out []block) {
	t.Helper()
	data, err := os.ReadFile(root + "/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	end := func() {
		if len(lines) > 0 {
			out = append(out, block{file, strings.Join(unindented(lines), "\n")})
		}
		lines = nil
	}
	fenced := false
	for line := range strings.SplitSeq(string(data), "\n") {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence:
			end()
			fenced = !fenced
		case fenced, strings.HasPrefix(line, "    "):
			lines = append(lines, line)
		case strings.TrimSpace(line) != "":
			end()
		case len(lines) > 0:
			lines = append(lines, "")
		}
	}
	end()
	return out
}

// unindented removes the common indent and empty lines at the end.
func unindented(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	least := 99
	for _, l := range lines {
		if s := strings.TrimLeft(l, " "); s != "" {
			least = min(least, len(l)-len(s))
		}
	}
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = l[min(least, len(l)):]
	}
	return out
}
