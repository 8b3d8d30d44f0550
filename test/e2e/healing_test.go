package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// damage changes bytes of a file of a server that is stopped.
func damage(t *testing.T, file string, change func([]byte)) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	was := bytes.Clone(b)
	change(b)
	if bytes.Equal(was, b) {
		t.Fatalf("%s is as it was", file)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A record that is damaged in one server's data file is taken from another server that shows its certificate: reads at it are right, and the file is mended.
func TestADamagedRecordIsTakenFromAnotherServer(t *testing.T) {
	t.Parallel()
	all := startSecured(t, 3, nil).all
	one := all[1]
	for n := range 20 {
		one.key(fmt.Sprintf("k/%d", n), fmt.Sprintf("the value of %d.", n))
	}
	right := func(a *agent) error {
		for n := range 20 {
			want := fmt.Sprintf("the value of %d.", n)
			for _, how := range []string{"raw&stale", "raw", "raw&consistent"} {
				if r := a.request("GET", fmt.Sprintf("/v1/kv/k/%d?%s", n, how), ""); r.status != http.StatusOK || r.body != want {
					return fmt.Errorf("%d, %s: %d %s", n, how, r.status, r.body)
				}
			}
		}
		return nil
	}
	before, _, err := one.client().KV().Get("k/7", nil)
	if err != nil {
		t.Fatal(err)
	}
	one.stop()
	file := filepath.Join(one.store(), "member", "snap", "db")
	damage(t, file, func(b []byte) {
		copy(b, bytes.ReplaceAll(b, []byte("the value of 7."), []byte("the valve of 7.")))
		copy(b, bytes.ReplaceAll(b, []byte("the value of 11."), []byte("the value of 12.")))
	})
	one.run()
	one.leads()
	await(t, "all records at the damaged server", func() error { return right(one) })
	if after, _, err := one.client().KV().Get("k/7", nil); err != nil || after.ModifyIndex != before.ModifyIndex {
		t.Errorf("after the healing %+v, %v; before %+v", after, err, before)
	}
	m := one.ok("GET", "/metrics", "").body
	for _, line := range []string{`skerry_quorum_healed_total{family="kv"} 2`, "skerry_quorum_damaged 0"} {
		if !strings.Contains(m, "\n"+line+"\n") {
			t.Errorf("no metric %s", line)
		}
	}
	if _, _, err := one.client().KV().List("k/", &api.QueryOptions{RequireConsistent: true}); err != nil {
		t.Error(err)
	}

	// The file is mended: a start without others shows it.
	one.stop()
	all[0].kill()
	all[2].kill()
	one.run()
	await(t, "the record on the disk", func() error {
		if r := one.request("GET", "/v1/kv/k/7?raw&stale", ""); r.status != http.StatusOK || r.body != "the value of 7." {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		return nil
	})
}

// A server whose log or data file cannot be read any more gets a new member of the store from the others, once they have a majority, and
// keeps what is left of the old one aside.
func TestADamagedMemberIsReplaced(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, a *agent){
		"the log": func(t *testing.T, a *agent) {
			logs, _ := filepath.Glob(filepath.Join(a.store(), "member", "wal", "*.wal"))
			damage(t, logs[0], func(b []byte) {
				for i := 2000; i < 2400; i++ {
					b[i] ^= 0xff
				}
			})
		},
		"the file's head": func(t *testing.T, a *agent) {
			damage(t, filepath.Join(a.store(), "member", "snap", "db"), func(b []byte) { clear(b[:16384]) })
		},
		"all pages of the file": func(t *testing.T, a *agent) {
			damage(t, filepath.Join(a.store(), "member", "snap", "db"), func(b []byte) {
				for i := 8192; i < len(b); i += 64 {
					b[i] ^= 0xff
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, _ := servers(t, 3)
			one := all[1]
			for n := range 50 {
				one.key(fmt.Sprintf("k/%d", n), strings.Repeat("v", 100))
			}
			one.stop()
			spoil(t, one)
			if name == "the log" { // without a majority nothing is thrown away
				all[0].kill()
			}
			_ = one.tryRun() // a damaged page may end it
			if name == "the log" {
				await(t, "the reason", func() error {
					if r := one.request("GET", "/v1/kv/k/1", ""); r.status != http.StatusInternalServerError {
						return fmt.Errorf("%d %s", r.status, r.body)
					}
					return nil
				})
				if aside, _ := filepath.Glob(filepath.Join(one.store(), "aside-*")); len(aside) > 0 {
					t.Fatalf("its data is at %v while the others have no majority", aside)
				}
				all[0].run()
			}
			awaitFor(t, 4*patience, "the keys at the server", func() error {
				keys, _, err := one.asker().KV().Keys("k/", "", &api.QueryOptions{RequireConsistent: true})
				if err != nil && strings.Contains(err.Error(), "connection refused") {
					one.kill()
					err = one.tryRun() // as a supervisor does
				}
				if err == nil && len(keys) != 50 {
					err = fmt.Errorf("%d keys", len(keys))
				}
				return err
			})
			if aside, _ := filepath.Glob(filepath.Join(one.store(), "aside-*", "member", "wal")); len(aside) != 1 {
				t.Errorf("the old data is at %v", aside)
			}
			all[0].voters(3)
			all[2].kill() // it has a vote, and all
			one.leads()
			one.key("k/50", "more")
			one.kept(51)
		})
	}
}
