// Command plain reports indirect sentences in comments and Markdown files, and exported
// names without a comment, as file:line: text. It exits with 1 if there are any.
//
//	plain ./...              the whole module, the default
//	plain client/... quorum  client with its subfolders, and quorum alone
package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	paths := os.Args[1:]
	if len(paths) == 0 {
		paths = []string{"./..."}
	}
	found, err := check(paths)
	if err != nil {
		fmt.Fprintln(os.Stderr, "plain:", err)
		os.Exit(2)
	}
	for _, f := range found {
		fmt.Println(f)
	}
	if len(found) > 0 {
		os.Exit(1)
	}
}

// finding is a place to change.
type finding struct {
	file string
	line int
	text string
}

// String implements [fmt.Stringer].
func (f finding) String() string { return fmt.Sprintf("%s:%d: %s", f.file, f.line, f.text) }

// check returns the findings in all files of the paths, in the order of the paths.
func check(paths []string) ([]finding, error) {
	var found []finding
	for _, path := range paths {
		root, recursive := strings.CutSuffix(path, "...")
		root = filepath.Clean(root)
		files, err := filesBelow(root, recursive)
		if err != nil {
			return nil, err
		}
		found = append(found, undocumentedPackages(files)...)
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			if strings.HasSuffix(file, ".md") {
				found = append(found, checkMarkdown(file, string(text))...)
				continue
			}
			inFile, err := checkGo(file, text)
			if err != nil {
				return nil, err
			}
			found = append(found, inFile...)
		}
	}
	return found, nil
}

// filesBelow returns the Go and Markdown files to check in root, which may be a file.
func filesBelow(root string, recursive bool) ([]string, error) {
	var files []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			if path != root && (!recursive || skippedFolder(path)) {
				return fs.SkipDir
			}
		case isText(path):
			files = append(files, path)
		}
		return nil
	})
	return files, err
}

// skippedFolder reports whether a folder holds records of the past, data or no source.
func skippedFolder(path string) bool {
	name := filepath.Base(path)
	slashed := filepath.ToSlash(path)
	return name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") ||
		slashed == "doc/adr" || slashed == "doc/results"
}

// isText reports whether the file is checked.
func isText(path string) bool {
	name := filepath.Base(path)
	switch filepath.Ext(name) {
	case ".md":
		return name != "CHANGELOG.md"
	case ".go":
		return !strings.HasSuffix(name, "_test.go")
	}
	return false
}
