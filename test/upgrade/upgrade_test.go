package upgrade

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

func TestMain(m *testing.M) { program.Main(m) }

// What each earlier commit wrote is there for the present binary, also after it has
// written to the folder itself and was started again.
func TestFoldersOfEarlierCommits(t *testing.T) {
	fixtures, err := filepath.Glob("testdata/*.json")
	if err != nil || len(fixtures) == 0 {
		t.Fatalf("there are %d fixtures, %v", len(fixtures), err)
	}
	for _, path := range fixtures {
		path = strings.TrimSuffix(path, ".json")
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel() // most of the time passes in starts and syncs
			want := readExpected(t, path+".json")
			folder := t.TempDir()
			if err := unpackNew(path+".tar.gz", filepath.Join(folder, "data")); err != nil {
				t.Fatal(err)
			}
			for _, round := range []string{"first", "second"} {
				s := start(t, folder, want.ACL)
				s.Token = want.Token
				if err := s.AwaitStore(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, fact := range want.Facts {
					compare(t, s, fact)
				}
				intact(t, s)
				changes(t, s, want.Store, round)
				if err := s.Stop(); err != nil {
					t.Errorf("the %s end: %v", round, err)
				}
			}
			if aside, _ := filepath.Glob(filepath.Join(folder, "data", "agent", "*damaged*")); len(aside) > 0 {
				t.Errorf("damage was found: %v", aside)
			}
		})
	}
}

// A snapshot of an earlier commit is restored into an empty server.
func TestSnapshotsOfEarlierCommits(t *testing.T) {
	fixtures, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range fixtures {
		path = strings.TrimSuffix(path, ".json")
		want := readExpected(t, path+".json")
		if !want.Store {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			old, folder := t.TempDir(), t.TempDir()
			if err := Unpack(path+".tar.gz", old); err != nil {
				t.Fatal(err)
			}
			snapshot, err := os.ReadFile(filepath.Join(old, Snapshot))
			if err != nil {
				t.Fatal(err)
			}
			key, err := os.ReadFile(filepath.Join(old, "acl.key"))
			if err == nil {
				err = os.Mkdir(filepath.Join(folder, "data"), 0o700)
			}
			if err == nil { // it seals the secrets in the snapshot
				err = os.WriteFile(filepath.Join(folder, "data", "acl.key"), key, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			s := start(t, folder, true)
			s.Token = bootstrap(t, s)
			if _, err := s.Do(t.Context(), "PUT", "/v1/snapshot", string(snapshot)); err != nil {
				t.Fatal(err)
			}
			s.Token = want.Token
			for _, fact := range want.Facts {
				switch {
				case strings.HasPrefix(fact.Path, "/v1/kv/"):
					fact.Want = without(fact.Want, "CreateIndex", "ModifyIndex") // they are counted anew
					compare(t, s, fact)
				case strings.HasPrefix(fact.Path, "/v1/acl/"):
					compare(t, s, fact)
				}
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The comparison notices what is lost and what is changed, and nothing else.
func TestMissing(t *testing.T) {
	const want = `{"a": 1, "list": [{"id": "x", "n": 1}, {"id": "y"}], "tags": ["p", "q"]}`
	for have, lost := range map[string]bool{
		want: false,
		`{"a": 1, "more": 2, "list": [{"id": "y", "m": 3}, {"id": "x", "n": 1}], "tags": ["p", "q"]}`: false,
		`{"list": [{"id": "x", "n": 1}, {"id": "y"}], "tags": ["p", "q"]}`:                            true,
		`{"a": 2, "list": [{"id": "x", "n": 1}, {"id": "y"}], "tags": ["p", "q"]}`:                    true,
		`{"a": 1, "list": [{"id": "x", "n": 1}], "tags": ["p", "q"]}`:                                 true,
		`{"a": 1, "list": [{"id": "x", "n": 2}, {"id": "y"}], "tags": ["p", "q"]}`:                    true,
		`{"a": 1, "list": [{"id": "x", "n": 1}, {"id": "y"}], "tags": ["q", "p"]}`:                    true,
		`[]`: true,
	} {
		w, err := Decode(want)
		if err != nil {
			t.Fatal(err)
		}
		h, err := Decode(have)
		if err != nil {
			t.Fatal(err)
		}
		if missing := Missing("answer", w, h); len(missing) > 0 != lost {
			t.Errorf("%s: missing %q, want any: %v", have, missing, lost)
		}
	}
}

func readExpected(t *testing.T, path string) (want Expected) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.UseNumber()
	if err := d.Decode(&want); err != nil {
		t.Fatal(err)
	}
	return want
}

func start(t *testing.T, folder string, acl bool) *Server {
	t.Helper()
	var ports [5]int
	for i := range ports {
		ports[i] = program.Port(t)
	}
	s, err := Start(program.Skerry(t), folder, ports, acl)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("the server logged:\n%s", s.Log())
		}
	})
	return s
}

// compare holds an answer to a fact. What the decider shows of the store follows by and
// by, so it is asked again for a while.
func compare(t *testing.T, s *Server, fact Fact) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience/3)
	defer stop()
	token := s.Token
	if fact.Token != "" {
		token = fact.Token
	}
	for {
		var missing []string
		answer, err := s.DoAs(ctx, token, "GET", fact.Path, "")
		if err == nil {
			var have any
			if have, err = Decode(answer); err == nil {
				missing = Missing("answer", fact.Want, Steady(fact.Path, have))
			}
		}
		if err == nil && len(missing) == 0 {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Errorf("%s: %v\n\t%s", fact.Path, err, strings.Join(missing, "\n\t"))
			return
		}
	}
}

// intact looks at what the server counts as damaged.
func intact(t *testing.T, s *Server) {
	t.Helper()
	metrics, err := s.Do(t.Context(), "GET", "/metrics", "")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(metrics, "\nskerry_quorum_damaged ") {
		t.Error("the damaged records are not counted")
	}
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "skerry_") && strings.Contains(line, "damaged") && !strings.HasSuffix(strings.TrimSpace(line), " 0") {
			t.Errorf("damage is counted: %s", line)
		}
	}
}

// changes writes to the folder, so that it has records of the present form too.
func changes(t *testing.T, s *Server, store bool, round string) {
	t.Helper()
	do := func(method, path, body string) {
		t.Helper()
		if _, err := s.Do(t.Context(), method, path, body); err != nil {
			t.Error(err)
		}
	}
	do("PUT", "/v1/agent/check/pass/Beat?note="+round, "")
	if store {
		do("PUT", "/v1/kv/new/"+round, round)
		do("PUT", "/v1/kv/new/again", round)
		do("PUT", "/v1/txn", `[{"KV": {"Verb": "check-not-exists", "Key": "app/gone"}}]`)
	}
}

func bootstrap(t *testing.T, s *Server) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for {
		answer, err := s.Do(ctx, "PUT", "/v1/acl/bootstrap", "")
		if err == nil {
			var token struct{ SecretID string }
			if err := json.Unmarshal([]byte(answer), &token); err != nil {
				t.Fatal(err)
			}
			return token.SecretID
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// without returns an answer without some fields.
func without(answer any, fields ...string) any {
	switch v := answer.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			out[name] = without(value, fields...)
		}
		for _, name := range fields {
			delete(out, name)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = without(value, fields...)
		}
		return out
	}
	return answer
}

// unpackNew is Unpack into a folder that it makes.
func unpackNew(from, folder string) error {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	return Unpack(from, folder)
}
