// Command cross checks that skerry compiles for every system that releases are for. It
// type-checks from source, of other modules the declarations alone: seconds for a system in
// place of the minutes that a build with an empty cache takes. `make dist` builds.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// systems are GOOS/GOARCH.
var systems = []string{
	"linux/amd64", "linux/arm64", "linux/arm", "darwin/amd64", "darwin/arm64", "freebsd/amd64", "freebsd/arm64", "windows/amd64", "windows/arm64",
}

func main() {
	failed := false
	for _, system := range systems {
		faults, err := check(".", "./cmd/skerry", system)
		if err != nil {
			fmt.Fprintln(os.Stderr, "cross:", err)
			os.Exit(1)
		}
		for _, f := range faults {
			fmt.Fprintf(os.Stderr, "%s: %v\n", system, f)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// listed is a package as go list describes it.
type listed struct {
	ImportPath, Dir string
	GoFiles         []string
	ImportMap       map[string]string
	Standard        bool
	Module          *struct{ Main bool }
	Error           *struct{ Err string }
}

func (p *listed) own() bool { return p.Module != nil && p.Module.Main }

// check returns the faults of the main module's packages that pkg is made of, for a system.
func check(dir, pkg, system string) (faults []error, err error) {
	goos, goarch, _ := strings.Cut(system, "/")
	cmd := exec.Command("go", "list", "-deps", "-e", "-json=ImportPath,Dir,GoFiles,ImportMap,Standard,Module,Error", pkg)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list for %s: %w", system, err)
	}
	c := checker{sizes: types.SizesFor("gc", goarch), done: map[string]*types.Package{"unsafe": types.Unsafe}}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return c.faults, nil
		} else if err != nil {
			return nil, err
		}
		if p.Error != nil && p.own() {
			c.faults = append(c.faults, errors.New(p.Error.Err))
			continue
		}
		if err := c.add(&p); err != nil {
			return nil, err
		}
	}
}

// checker type-checks packages in the order of their imports.
type checker struct {
	sizes  types.Sizes
	done   map[string]*types.Package
	faults []error
}

func (c *checker) add(p *listed) error {
	if p.ImportPath == "unsafe" {
		return nil
	}
	set := token.NewFileSet()
	mode := parser.SkipObjectResolution
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, mode)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	conf := types.Config{
		Importer: importerFunc(func(path string) (*types.Package, error) {
			if real, ok := p.ImportMap[path]; ok {
				path = real
			}
			if pkg := c.done[path]; pkg != nil {
				return pkg, nil
			}
			return nil, fmt.Errorf("%s was not loaded", path)
		}),
		IgnoreFuncBodies: !p.own(), Sizes: c.sizes, FakeImportC: true,
		Error: func(err error) {
			if p.own() {
				c.faults = append(c.faults, err)
			}
		},
	}
	pkg, _ := conf.Check(p.ImportPath, set, files, nil) // its errors went to Error
	c.done[p.ImportPath] = pkg
	return nil
}

type importerFunc func(path string) (*types.Package, error)

// Import implements [types.Importer].
func (f importerFunc) Import(path string) (*types.Package, error) { return f(path) }
