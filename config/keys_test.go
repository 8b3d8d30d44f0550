package config

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// comments returns what the source says of each field, by "Struct.Field".
func comments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					for _, id := range f.Names {
						out[spec.Name.Name+"."+id.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
					}
				}
			}
			return false
		})
	}
	return out
}

func TestReadmeHasEveryKey(t *testing.T) {
	said := comments(t)
	var b strings.Builder
	b.WriteString("| key | type | default | reload | class | meaning |\n|---|---|---|---|---|---|\n")
	for _, k := range Keys() {
		owner := k.owner.Name() + "." + k.field
		if k.owner.PkgPath() != reflect.TypeFor[Config]().PkgPath() {
			owner = "Config." + k.owner.Name()
		}
		meaning, ok := said[owner]
		if !ok || meaning == "" {
			t.Errorf("%s: the field %s has no comment", k.Path, owner)
		}
		// "Domain is the DNS zone" is "the DNS zone" in the row of domain.
		meaning = strings.TrimPrefix(meaning, k.field+" ")
		meaning = strings.TrimPrefix(meaning, "is ")
		meaning = strings.TrimPrefix(meaning, "are ")
		if k.Later {
			meaning += " *(later)*"
		}
		def, reload := "", ""
		if k.Default != "" {
			def = "`" + k.Default + "`"
		}
		if k.Reload {
			reload = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", k.Path, k.Type, def, reload, k.Class, strings.ReplaceAll(meaning, "|", `\|`))
	}
	table(t, "keys", b.String())
}

func TestEveryKeyHasAClass(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Keys() {
		if !strings.Contains("CUS", k.Class) || len(k.Class) != 1 {
			t.Errorf("%s: class %q", k.Path, k.Class)
		}
		if seen[k.Path] {
			t.Errorf("%s is there twice", k.Path)
		}
		seen[k.Path] = true
	}
}

// A key that is in force must not be among those that are ignored: the warning
// would be a lie, and the other way round the key would be dead.
func TestNoKeyIsIgnoredAndKnown(t *testing.T) {
	for typ := range ignored {
		for _, f := range fields(typ) {
			if why, ok := ignoredKey(typ, f.key); ok {
				t.Errorf("%v: %s is known and ignored (%s)", typ, f.key, why)
			}
		}
	}
	for old, to := range moved {
		root := &value{kind: object}
		root.set(old, 1, &value{kind: null})
		d := &decoder{set: map[string]bool{}}
		d.structure(reflect.ValueOf(Default()).Elem(), d.modernised(root), "")
		if len(d.errs) > 0 {
			t.Errorf("%s moved to %s: %v", old, to, d.errs)
		}
	}
	for typ, others := range synonyms {
		for other, key := range others {
			found := false
			for _, f := range fields(typ) {
				found = found || f.key == key
			}
			if !found || other != plainKey(other) {
				t.Errorf("%v: %s stands for %s, which is no key, or is not in plain form", typ, other, key)
			}
		}
	}
}
