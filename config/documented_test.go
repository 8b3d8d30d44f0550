package config

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// documented returns the keys that Consul documents, each with a value as a file may
// have it. They come from the documentation of 1.22; what 1.14 knew besides is there
// too. A dot that belongs to a key is escaped.
func documented(t *testing.T) (keys []string, values map[string]any) {
	t.Helper()
	f, err := os.Open("testdata/consul-keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	values = map[string]any{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, text, _ := strings.Cut(lines.Text(), " ")
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		keys, values[key] = append(keys, key), v
	}
	return keys, values
}

// fileWith returns a file with that key alone; services and checks have a name, too.
func fileWith(t *testing.T, key string, v any) []byte {
	t.Helper()
	parts := strings.Split(strings.ReplaceAll(key, `\.`, "\x00"), ".")
	list := len(parts) > 1 && (parts[0] == "services" || parts[0] == "checks")
	for i := len(parts) - 1; i >= 0; i-- {
		o := map[string]any{strings.ReplaceAll(parts[i], "\x00", "."): v}
		if i == 1 && list {
			o["name"] = "a"
			v = []any{o}
			continue
		}
		v = o
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// does returns what a key of Consul's does here.
func does(t *testing.T, key string, v any) string {
	t.Helper()
	root, err := parse("x.json", fileWith(t, key, v))
	if err != nil {
		t.Fatal(err)
	}
	d := &decoder{set: map[string]bool{}}
	d.structure(reflect.ValueOf(Default()).Elem(), d.modernised(root), "")
	for _, err := range d.errs {
		// A check of nothing but one key may lack another.
		if text := err.Error(); !strings.HasPrefix(key, "checks.") && !strings.HasPrefix(key, "services.check") || strings.Contains(text, "unknown key") {
			t.Errorf("%s: %v", key, err)
		}
	}
	set := len(d.set) > 0
	if strings.HasPrefix(key, "services.") || strings.HasPrefix(key, "checks.") {
		_, last, _ := strings.Cut(key, ".")
		section, _, _ := strings.Cut(key, ".")
		set = false
		for at := range d.set {
			set = set || strings.HasPrefix(at, section+"[0]."+strings.TrimSuffix(last, "s")) || strings.HasPrefix(last, "proxy") || strings.HasPrefix(last, "connect")
		}
	}
	switch {
	case len(d.warnings) > 0:
		return d.warnings[0].Message
	case !set || strings.HasPrefix(key, "gossip"):
		return "accepted: it sets the pace or the form of a part that is not here"
	}
	return "works"
}

// Every key that Consul documents is known, and the table says what it does.
func TestReadmeHasWhatConsulDocuments(t *testing.T) {
	keys, values := documented(t)
	if len(keys) < 250 {
		t.Fatalf("%d keys are documented, which cannot be all", len(keys))
	}
	var b strings.Builder
	b.WriteString("| key of Consul | here |\n|---|---|\n")
	for _, key := range keys {
		fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(key, `\.`, "."), does(t, key, values[key]))
	}
	table(t, "consul keys", b.String())
}

// table holds a part of README.md, between two comments, against what it must be, or
// writes it with -update.
func table(t *testing.T, name, want string) {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	head, rest, ok := strings.Cut(string(readme), begin)
	found, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("README.md has no place for the table %q", name)
	}
	if *update {
		if err := os.WriteFile("README.md", []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if found != want {
		t.Errorf("the table %q of README.md is not that of the code; -update writes it anew", name)
	}
}
