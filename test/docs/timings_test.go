package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// timing is a row of doc/timings.md.
var timing = regexp.MustCompile("(?m)^\\| [^|]+ \\| (\\d+) (ms|s|min|h) \\| (?:`([a-z/]+)\\.([A-Za-z.]+)` )?\\| (fixed|`([a-z_.]+)`[^|]*) \\|$")

// anyTime is a row with a time, whatever is in the other cells.
var anyTime = regexp.MustCompile(`(?m)^\| [^|]+ \| \d+ (ms|s|min|h) \|.*$`)

var units = map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour}

// doc/timings.md has the times of the code, and the defaults of the keys that it names.
func TestTimings(t *testing.T) {
	page, keys := read(t, "doc/timings.md"), read(t, "config/README.md")
	rows := timing.FindAllStringSubmatch(page, -1)
	if times := len(anyTime.FindAllString(page, -1)); len(rows) != times || times < 40 {
		t.Fatalf("%d of %d rows are understood", len(rows), times)
	}
	for _, r := range rows {
		n, err := strconv.Atoi(r[1])
		if err != nil {
			t.Fatal(err)
		}
		want, folder, name, key := time.Duration(n)*units[r[2]], r[3], r[4], r[6]
		if folder == "" && key == "" {
			t.Errorf("%s: neither a constant nor a key", r[0])
		}
		if folder != "" {
			if got, ok := constantsOf(t, folder)[name]; !ok || got != want {
				t.Errorf("%s.%s is %v (known: %v), and the page has %v", folder, name, got, ok, want)
			}
		}
		if key == "" {
			continue
		}
		row := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(key) + "` \\| (\\w+) \\| `\"?([^`\"]*)\"?` \\|").FindStringSubmatch(keys)
		if row == nil {
			t.Errorf("config/README.md has no key %s", key)
			continue
		}
		if got, err := time.ParseDuration(row[2]); row[1] == "duration" && (err != nil || got != want) {
			t.Errorf("the default of %s is %s, and the page has %v", key, row[2], want)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// constantsOf returns the times among the constants of a folder, and the defaults of fields of its Config and
// Timing: those that are set where the field is zero. A number without a unit is in milliseconds.
func constantsOf(t *testing.T, folder string) map[string]time.Duration {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files, %v", folder, err)
	}
	out := map[string]time.Duration{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, v := range n.Values {
					note(out, n.Names[i].Name, v)
				}
			case *ast.AssignStmt: // c.Coalesce = 2 * time.Millisecond
				if s, is := n.Lhs[0].(*ast.SelectorExpr); is && len(n.Rhs) == 1 {
					note(out, "Config."+s.Sel.Name, n.Rhs[0])
				}
			case *ast.CompositeLit: // {&t.Tick, 500 * time.Millisecond}
				if len(n.Elts) == 2 {
					if at, is := n.Elts[0].(*ast.UnaryExpr); is {
						if s, is := at.X.(*ast.SelectorExpr); is {
							note(out, "Timing."+s.Sel.Name, n.Elts[1])
						}
					}
				}
			}
			return true
		})
	}
	return out
}

// note keeps the value of an expression, if it is a time.
func note(in map[string]time.Duration, name string, e ast.Expr) {
	if d, err := value(e); err == nil {
		in[name] = d
	}
}

func value(e ast.Expr) (time.Duration, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		n, err := strconv.Atoi(e.Value)
		return time.Duration(n) * time.Millisecond, err
	case *ast.SelectorExpr:
		if d, ok := map[string]time.Duration{"Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute, "Hour": time.Hour}[e.Sel.Name]; ok {
			return d, nil
		}
	case *ast.BinaryExpr:
		if n, is := e.X.(*ast.BasicLit); is && e.Op == token.MUL {
			unit, err := value(e.Y)
			if err != nil {
				return 0, err
			}
			times, err := strconv.Atoi(n.Value)
			return time.Duration(times) * unit, err
		}
	}
	return 0, fmt.Errorf("no time")
}
