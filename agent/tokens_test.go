package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerryhq/skerry"
)

// registered is a registration of a service by a token.
func registered(id, token string) skerry.Registration {
	return skerry.Registration{Instance: &skerry.Instance{ID: id, Service: "web", Port: 80}, Token: token}
}

// The token of a registration is kept over a restart where another process judges by it, and nowhere else.
func TestTokensOfRegistrations(t *testing.T) {
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			dir, ctx := t.TempDir(), context.Background()
			r := open(t, dir)
			r.Agent.cfg.KeepTokens = keep
			for _, err := range []error{
				r.RegisterService(ctx, registered("one", "secret1")), r.RegisterService(ctx, registered("two", "")),
				r.Configure(ctx, []skerry.Registration{registered("three", "secret3"), registered("four", "")}, nil),
				r.Drop(ctx, "a.json", []skerry.Registration{registered("five", "")}, nil),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			check := func(when string, one string) {
				t.Helper()
				want := map[string]string{"one": one, "three": "secret3", "four": "file", "five": "file"}
				if !keep {
					want = map[string]string{"three": "file", "four": "file", "five": "file"}
				}
				if got := r.Tokens(r.Instances(), "file"); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s: %v, want %v", when, got, want)
				}
			}
			check("at first", "secret1")
			version, _, _ := r.Whole()
			if err := r.RegisterService(ctx, registered("one", "secret1")); err != nil {
				t.Fatal(err)
			}
			if now, _, _ := r.Whole(); now != version {
				t.Errorf("the same registration makes version %v of %v", now, version)
			}
			if err := r.RegisterService(ctx, registered("one", "secret1b")); err != nil {
				t.Fatal(err)
			}
			if now, _, _ := r.Whole(); (now != version) != keep {
				t.Errorf("another token makes version %v of %v", now, version)
			}
			check("with another token", "secret1b")
			r.stop()
			r.start()
			r.Agent.cfg.KeepTokens = keep
			check("after a restart", "secret1b")
			journal := filepath.Join(dir, "journal")
			text, err := os.ReadFile(journal)
			if err != nil || strings.Contains(string(text), "secret") != keep {
				t.Errorf("the journal has secrets: %v, want %v; %v", !keep, keep, err)
			}
			if fi, err := os.Stat(journal); err != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("the journal: %v, %v", fi.Mode(), err)
			}
		})
	}
}
