package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func seed(f *testing.F, ext string) {
	names, err := filepath.Glob("testdata/*" + ext)
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

// decoded has the promises that hold for any input: an error or a
// configuration, never both, never neither, and nothing that cannot be shown.
func decoded(t *testing.T, name string, data []byte) {
	if len(data) > 1<<16 {
		t.Skip("only slower, not different")
	}
	root, err := parse(name, data)
	if (root == nil) == (err == nil) {
		t.Fatalf("got %v and %v", root, err)
	}
	services, checks, err := ParseServiceFile(name, data, true)
	if (len(services)+len(checks) == 0) == (err == nil) {
		t.Fatalf("got %v, %v and %v", services, checks, err)
	}
	for _, s := range services {
		if s.Instance.ID == "" || s.Instance.Service == "" {
			t.Fatalf("a service without a name or an id: %+v", s.Instance)
		}
		if x := s.Instance.Extra; x != nil && len(x.Proxy) > 0 && !json.Valid(x.Proxy) {
			t.Fatalf("proxy is not JSON: %q", x.Proxy)
		}
	}
	if name == "f.hcl" && root == nil {
		return
	}
	c, _, err := Load(Source{HCL: []string{string(data)}})
	if (c == nil) == (err == nil) {
		t.Fatalf("got %v and %v", c, err)
	}
	if c == nil {
		return
	}
	if again, _, err := Load(Source{HCL: []string{string(data)}}); err != nil || len(c.Restart(again)) > 0 {
		t.Fatalf("the same text twice differs: %v, %v", err, c.Restart(again))
	}
	_ = c.Validate()
}

func FuzzHCL(f *testing.F) {
	seed(f, ".hcl")
	f.Fuzz(func(t *testing.T, data []byte) { decoded(t, "f.hcl", data) })
}

func FuzzJSON(f *testing.F) {
	seed(f, ".json")
	f.Fuzz(func(t *testing.T, data []byte) { decoded(t, "f.json", data) })
}
