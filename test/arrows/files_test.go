package arrows

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fileArrow is a use in one file of what another file of the package declares.
type fileArrow struct{ from, to, name string }

// fileArrows returns the arrows between the files of one package, without its tests.
func fileArrows(t *testing.T, path string) []fileArrow {
	t.Helper()
	exports, dir, names := exportsOf(t, path)
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(set, filepath.Join(dir, name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	pkg, err := conf.Check(path, set, files, info)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[fileArrow]bool{}
	for id, object := range info.Uses {
		if object.Pkg() != pkg || !declares(pkg, object) {
			continue
		}
		a := fileArrow{filepath.Base(set.Position(id.Pos()).Filename), filepath.Base(set.Position(object.Pos()).Filename), object.Name()}
		if a.from != a.to {
			seen[a] = true
		}
	}
	var out []fileArrow
	for a := range seen {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b fileArrow) int {
		return strings.Compare(a.from+" "+a.to+" "+a.name, b.from+" "+b.to+" "+b.name)
	})
	return out
}

// declares reports whether the object is a name of the package, a method or a field.
func declares(pkg *types.Package, object types.Object) bool {
	switch o := object.(type) {
	case *types.Func:
		return true
	case *types.Var:
		return o.IsField() || o.Parent() == pkg.Scope()
	}
	return object.Parent() == pkg.Scope()
}

// exportsOf returns the files of export data of all that a package imports, its folder,
// and the names of its files.
func exportsOf(t *testing.T, path string) (exports map[string]string, dir string, files []string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles", path)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports = map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Export, Dir string
			GoFiles                 []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return exports, dir, files
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if p.ImportPath == path {
			dir, files = p.Dir, p.GoFiles
		}
	}
}
