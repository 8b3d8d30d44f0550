// Package golden holds every endpoint of the HTTP API against requests with
// their answers, written in *.txt beside this file; bad input included.
//
//	go test ./test/golden -update    writes the answers anew: read the difference
package golden

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/inprocess"
)

var update = flag.Bool("update", false, "write the answers anew")

func TestGolden(t *testing.T) {
	for _, path := range files(t) {
		t.Run(strings.TrimSuffix(path, ".txt"), func(t *testing.T) {
			f := read(t, path)
			run(t, &f, inprocess.Start(t))
			if *update {
				if err := os.WriteFile(path, []byte(f.write()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func run(t *testing.T, f *file, address string) {
	known := map[string]string{"index": ""}
	for i := range f.steps {
		s := &f.steps[i]
		got := s.do(t, address, known)
		if got != s.want && !*update {
			t.Errorf("%s\n%s %s\ngot\n%s\n\nwant\n%s", s.title, s.method, s.path, got, s.want)
		}
		s.want = got
	}
}

// do makes the request and returns the answer as a file has it. What later steps
// may name is noted in known.
func (s *step) do(t *testing.T, address string, known map[string]string) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	body := strings.NewReader(expand(s.body, known))
	req, err := http.NewRequestWithContext(ctx, s.method, "http://"+address+expand(s.path, known), body)
	if err != nil {
		t.Fatalf("%s: %v", s.title, err)
	}
	for _, h := range s.headers {
		req.Header.Set(h[0], h[1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // follows no redirect
	if err != nil {
		t.Fatalf("%s: %v", s.title, err)
	}
	defer resp.Body.Close()
	var data []byte
	if s.has("stream") { // its head, and for as long as it goes on nothing more
		resp.Header.Del("Date")
	} else if data, err = io.ReadAll(resp.Body); err != nil {
		t.Fatalf("%s: %v", s.title, err)
	}
	if index := resp.Header.Get("X-Consul-Index"); index != "" {
		known["index"] = index
	}
	if name := s.named("keep"); name != "" {
		known[name] = string(data)
	}
	if name := s.named("id"); name != "" {
		var made struct{ ID string }
		if err := json.Unmarshal(data, &made); err != nil || made.ID == "" {
			t.Fatalf("%s: the answer has no ID: %s", s.title, data)
		}
		known[name] = made.ID
	}
	return show(s, resp.StatusCode, resp.Header, data)
}

// Every endpoint has a step for every method that it takes.
func TestEveryRouteHasACase(t *testing.T) {
	var steps []step
	for _, path := range files(t) {
		steps = append(steps, read(t, path).steps...)
	}
	routes := table(t)
	for _, r := range routes {
		for _, method := range r.methods {
			if !slices.ContainsFunc(steps, func(s step) bool { return s.method == method && r.is(s.path, routes) }) {
				t.Errorf("no golden case for %s %s", method, r.path)
			}
		}
	}
}

// route is a line of the table of endpoints.
type route struct {
	path    string
	methods []string
}

// is reports whether a request for path comes to this route: the exact one, else
// the longest prefix.
func (r route) is(path string, all []route) bool {
	path, _, _ = strings.Cut(path, "?")
	best := ""
	for _, o := range all {
		if o.path == path {
			best = o.path
			break
		}
		if strings.HasSuffix(o.path, "/") && strings.HasPrefix(path, o.path) && len(o.path) > len(best) {
			best = o.path
		}
	}
	return best == r.path
}

var routeLine = regexp.MustCompile(`\{path: "([^"]+)", methods: (get|put|getPut|\[\]string\{[^}]*\}),`)

// table reads the endpoints where they are written.
func table(t *testing.T) (out []route) {
	t.Helper()
	data, err := os.ReadFile("../../tongue/consul/routes.go")
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		m := routeLine.FindStringSubmatch(lines.Text())
		if m == nil {
			if strings.Contains(lines.Text(), `{path: "`) {
				t.Errorf("not understood: %s", lines.Text())
			}
			continue
		}
		r := route{path: m[1]}
		switch m[2] {
		case "get":
			r.methods = []string{"GET"}
		case "put":
			r.methods = []string{"PUT"}
		case "getPut":
			r.methods = []string{"GET", "PUT"}
		default:
			for _, quoted := range regexp.MustCompile(`"([A-Z]+)"`).FindAllStringSubmatch(m[2], -1) {
				r.methods = append(r.methods, quoted[1])
			}
		}
		out = append(out, r)
	}
	if len(out) < 50 {
		t.Fatalf("only %d routes found", len(out))
	}
	return out
}

// What is written can be read again, and says the same.
func TestFilesAreInTheirOwnForm(t *testing.T) {
	for _, path := range files(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, path).write(); got != string(data) {
			t.Errorf("%s is not as -update writes it", path)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("# head\n=== a\n! body skip\n> GET /v1/x\n> A: b\nbody\n---\n< 200\nok\n")
	f.Fuzz(func(t *testing.T, text string) {
		first, err := parse(text)
		if err != nil {
			return
		}
		written := first.write()
		again, err := parse(written)
		if err != nil {
			return // a title or body that looks like a line of its own
		}
		if len(again.steps) < len(first.steps) {
			t.Errorf("%d steps became %d: %q", len(first.steps), len(again.steps), written)
		}
	})
}

func files(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	return paths
}

func read(t *testing.T, path string) file {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parse(string(data))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return f
}
