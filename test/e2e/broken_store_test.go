package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

// store is the folder of the decided things of an agent.
func (a *agent) store() string {
	return filepath.Join(filepath.Dir(a.config), "data", "quorum")
}

// catalogGoesOn registers a service, sees it in the catalog, and beats for it.
func (a *agent) catalogGoesOn(name string) {
	a.t.Helper()
	if r := a.request("PUT", "/v1/agent/service/register", `{"Name":"`+name+`","Port":80,"Check":{"CheckID":"`+name+`","TTL":"1h"}}`); r.status != http.StatusOK {
		a.t.Errorf("register: %d %s", r.status, r.body)
	}
	if r := a.request("PUT", "/v1/agent/check/pass/"+name, ""); r.status != http.StatusOK {
		a.t.Errorf("beat: %d %s", r.status, r.body)
	}
	for end := time.Now().Add(patience); !strings.Contains(a.request("GET", "/v1/health/service/"+name+"?passing", "").body, `"Port":80`); {
		if time.Now().After(end) {
			a.t.Fatalf("%s is not found: %v", name, a.request("GET", "/v1/health/service/"+name, ""))
		}
	}
}

// refused wants a write of a key to fail with an error that says so.
func (a *agent) refused(says string) {
	a.t.Helper()
	if r := a.request("PUT", "/v1/kv/one-more", "v"); r.status != http.StatusInternalServerError || !strings.Contains(r.body, says) {
		a.t.Errorf("a write was answered %d %q, want 500 and %q", r.status, r.body, says)
	}
}

func (a *agent) key(key, value string) {
	a.t.Helper()
	if r := a.request("PUT", "/v1/kv/"+key, value); r.status != http.StatusOK || r.body != "true" {
		a.t.Fatalf("put %s: %d %s", key, r.status, r.body)
	}
}

// kept wants the keys k/0 to k/n-1 to be there, by the strict way of reading.
func (a *agent) kept(n int) {
	a.t.Helper()
	keys, _, err := a.client().KV().Keys("k/", "", nil)
	if err != nil || len(keys) != n {
		a.t.Errorf("%d keys are there, want %d (%v)", len(keys), n, err)
	}
}

func TestAtTheQuotaTheRestGoesOn(t *testing.T) {
	t.Parallel()
	a := start(t, map[string]any{"log_level": "warn", "quorum": map[string]any{"quota": 64 << 20}})
	value := strings.Repeat("x", 500_000)
	n := 0
	for ; n < 500; n++ {
		if r := a.request("PUT", fmt.Sprintf("/v1/kv/k/%d", n), value); r.status != http.StatusOK {
			break
		}
	}
	a.refused("quorum.quota")
	a.kept(n)
	a.catalogGoesOn("web")
	a.kill()
	a.run()
	a.catalogGoesOn("after")
	if r := a.request("GET", "/v1/health/service/web?passing", ""); !strings.Contains(r.body, `"Port":80`) {
		t.Errorf("the service registered before is gone: %s", r.body)
	}
	a.kept(n)
	a.refused("quorum.quota")
	if r := a.request("DELETE", "/v1/kv/k/?recurse", ""); r.status != http.StatusOK {
		t.Fatalf("delete at the quota: %d %s", r.status, r.body)
	}
	for end := time.Now().Add(2 * time.Minute); a.request("PUT", "/v1/kv/again", "v").status != http.StatusOK; {
		if time.Now().After(end) {
			t.Fatal("writes are refused after the deletion still")
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestWithADamagedStoreTheCatalogGoesOn(t *testing.T) {
	t.Parallel()
	a := start(t, nil)
	value := strings.Repeat("v", 500)
	for n := range 100 {
		a.key(fmt.Sprintf("k/%d", n), value)
	}
	a.catalogGoesOn("web")
	a.stop()
	logs, _ := filepath.Glob(filepath.Join(a.store(), "member", "wal", "*.wal"))
	if len(logs) == 0 {
		t.Fatalf("no log in %s", a.store())
	}
	whole, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	for i := 20_000; i < 20_400; i++ {
		damaged[i] ^= 0xff
	}
	write(t, logs[0], string(damaged))
	a.run()
	a.catalogGoesOn("web")
	a.catalogGoesOn("more")
	for end := time.Now().Add(patience); !strings.Contains(a.request("GET", "/v1/kv/k/1", "").body, a.store()); {
		if time.Now().After(end) {
			t.Fatalf("a read of a key was answered %v, without the folder that is damaged", a.request("GET", "/v1/kv/k/1", ""))
		}
	}
	a.refused(a.store())
	a.stop()
	write(t, logs[0], string(whole))
	a.run()
	a.kept(100)
}

func TestWithoutAFolderForTheStoreTheCatalogGoesOn(t *testing.T) {
	t.Parallel()
	a := start(t, nil)
	a.key("k/0", "v")
	a.stop()
	if err := os.Rename(a.store(), a.store()+".away"); err != nil {
		t.Fatal(err)
	}
	write(t, a.store(), "")
	a.run()
	a.catalogGoesOn("web")
	a.refused("No cluster leader")
	a.stop()
	if err := os.Remove(a.store()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(a.store()+".away", a.store()); err != nil {
		t.Fatal(err)
	}
	a.run()
	a.kept(1)
}

// On a full disk nothing new is acknowledged, what is known is found, and all goes
// on when there is room again.
func TestOnAFullDiskReadsGoOn(t *testing.T) {
	t.Parallel()
	disk := program.SmallDisk(t, "500m")
	a := start(t, map[string]any{"data_dir": filepath.Join(disk, "data")})
	for n := range 20 {
		a.key(fmt.Sprintf("k/%d", n), "v")
	}
	a.catalogGoesOn("web")
	ballast := filepath.Join(disk, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(chunk)
	}
	f.Close()
	a.refused("disk")
	// What fits into the last block of the journal is taken still.
	r := reply{status: http.StatusOK}
	for n := 0; r.status == http.StatusOK && n < 100; n++ {
		r = a.request("PUT", "/v1/agent/service/register", fmt.Sprintf(`{"Name":"more-%d","Port":81,"Meta":{"m":"%s"}}`, n, strings.Repeat("x", 500)))
	}
	if r.status != http.StatusInternalServerError || !strings.Contains(r.body, "no space left on device") {
		t.Errorf("a registration was answered %d %q", r.status, r.body)
	}
	if r := a.request("GET", "/v1/health/service/web?passing", ""); !strings.Contains(r.body, `"Port":80`) {
		t.Errorf("the service is not found: %s", r.body)
	}
	a.kept(20)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	a.key("k/20", "v")
	for end := time.Now().Add(patience); a.request("PUT", "/v1/agent/service/register", `{"Name":"later"}`).status != http.StatusOK; {
		if time.Now().After(end) {
			t.Fatal("with room again, registrations are refused still")
		}
	}
	a.catalogGoesOn("later")
	a.kill()
	a.run()
	a.kept(21)
	a.catalogGoesOn("later")
}
