package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/consul/api"
)

// Services from files of -config-dir; SIGHUP takes in what changed, and who
// watches what did not change sees nothing.
func TestConfigDirAndReload(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "web.hcl"), `service {
  name = "web"
  id   = "web-1"
  port = 8080
  tags = ["release"]
  check {
    id     = "beat"
    ttl    = "1h"
    status = "passing"
  }
}
services {
  name = "db"
  port = 5432
}
`)
	write(t, filepath.Join(dir, "more.json"), `{"service": {"name": "more", "port": 1}}`)
	a := start(t, nil, "-config-dir", dir)
	a.awaitInstances("web", "web-1 passing")
	a.awaitInstances("db", "db passing")
	a.awaitInstances("more", "more passing")
	a.register(`{"ID": "api-1", "Name": "api", "Check": {"TTL": "1h", "Status": "passing"}}`)

	c := a.client()
	before := map[string]uint64{}
	for _, s := range []string{"web", "api"} {
		before[s] = a.index("/v1/health/service/" + s)
	}
	changes := make(chan string, 16)
	for service, index := range before {
		go func() {
			_, m, err := c.Health().Service(service, "", false, (&api.QueryOptions{WaitIndex: index}).WithContext(t.Context()))
			if t.Context().Err() == nil {
				changes <- fmt.Sprint(service, " index ", m.LastIndex, " after ", index, " ", err)
			}
		}()
	}
	write(t, filepath.Join(dir, "more.json"), `{"service": {"name": "more", "port": 2, "tags": ["new"]}}`)
	write(t, filepath.Join(dir, "added.hcl"), `service { name = "added" }`)
	_, meta, err := c.Health().Service("more", "new", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.signal(syscall.SIGHUP)
	if found, _, err := c.Health().Service("more", "new", false, &api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: patience}); err != nil || len(found) != 1 || found[0].Service.Port != 2 {
		t.Errorf("after the reload: %v, %v; want more on port 2", found, err)
	}
	a.awaitInstances("added", "added passing")
	if err := os.Remove(filepath.Join(dir, "added.hcl")); err != nil {
		t.Fatal(err)
	}
	a.ok("PUT", "/v1/agent/reload", "")
	a.awaitInstances("added")
	a.awaitInstances("web", "web-1 passing")
	a.awaitInstances("api", "api-1 passing")
	select {
	case change := <-changes:
		t.Errorf("a watcher of what did not change was woken: %s", change)
	default:
	}
	for s, want := range before {
		if got := a.index("/v1/health/service/" + s); got != want {
			t.Errorf("the index of %s went from %d to %d", s, want, got)
		}
	}
}

// A file with an error changes nothing.
func TestReloadRefusesNonsense(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "web.hcl")
	write(t, file, `service { name = "web" }`)
	a := start(t, nil, "-config-dir", dir)
	a.awaitInstances("web", "web passing")
	write(t, file, `servcie { name = "web" }`)
	r := a.request("PUT", "/v1/agent/reload", "")
	if r.status != http.StatusInternalServerError || !strings.Contains(r.body, "servcie") {
		t.Errorf("the reload answered %d %q, want an error that names the key", r.status, r.body)
	}
	a.awaitInstances("web", "web passing")
}

func TestWatchDir(t *testing.T) {
	dir := t.TempDir()
	a := start(t, map[string]any{"watch_dir": dir})
	file := filepath.Join(dir, "service.json")
	// Whole from the first moment, as a program should do it.
	drop := func(text string) {
		t.Helper()
		write(t, filepath.Join(dir, ".new"), text)
		if err := os.Rename(filepath.Join(dir, ".new"), file); err != nil {
			t.Fatal(err)
		}
	}
	drop(`{"service": {"name": "web", "id": "web-1", "port": 80}}`)
	a.awaitInstances("web", "web-1 passing")
	drop(`{"services": [{"name": "web", "id": "web-1", "port": 80}, {"name": "web", "id": "web-2", "port": 81}]}`)
	a.awaitInstances("web", "web-1 passing", "web-2 passing")
	drop(`{"services": [`)
	a.kill()
	a.run()
	a.awaitInstances("web", "web-1 passing", "web-2 passing")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	a.awaitInstances("web")
	if got := a.ok("GET", "/v1/health/service/web", "").header.Get("X-Skerry-Empty-Cause"); got != "deregistered" {
		t.Errorf("the list is empty because %q, want deregistered", got)
	}
}

// A file that goes away while nobody looks is noticed at the next start.
func TestWatchDirAcrossRestart(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "service.json")
	write(t, file, `{"service": {"name": "web", "port": 80}}`)
	a := start(t, map[string]any{"watch_dir": dir})
	a.awaitInstances("web", "web passing")
	a.kill()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	a.run()
	a.awaitInstances("web")
}

func TestScriptChecks(t *testing.T) {
	const script = `{"ID": "web", "Name": "web", "Check": {"CheckID": "s", "Args": ["sh", "-c", "echo ahoy"], "Interval": "1h"}}`
	t.Run("off", func(t *testing.T) {
		a := start(t, nil)
		r := a.request("PUT", "/v1/agent/service/register", script)
		if r.status != http.StatusInternalServerError || !strings.HasPrefix(r.body, "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks'") {
			t.Errorf("%d %q, want a refusal", r.status, r.body)
		}
		a.awaitInstances("web")
	})
	t.Run("local", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "s.json"), `{"service": {"name": "own", "check": {"args": ["sh", "-c", "echo ahoy"], "interval": "1h"}}}`)
		a := start(t, map[string]any{"enable_local_script_checks": true}, "-config-dir", dir)
		a.awaitInstances("own", "own passing")
		if r := a.request("PUT", "/v1/agent/service/register", script); r.status == http.StatusOK {
			t.Error("a remote script check was taken in")
		}
	})
	t.Run("on", func(t *testing.T) {
		a := start(t, map[string]any{"enable_script_checks": true})
		a.register(script)
		a.awaitInstances("web", "web passing")
		if got := a.ok("GET", "/v1/agent/checks", "").body; !strings.Contains(got, `"Output":"ahoy\n"`) {
			t.Errorf("the output is not there: %s", got)
		}
	})
}

func TestLegacyAPI(t *testing.T) {
	const ttl = `{"ID": "web", "Name": "web", "Check": {"CheckID": "beat", "TTL": "1h"}}`
	const script = `{"ID": "old", "Name": "old", "Check": {"Script": "exit 0", "Interval": "1h"}}`
	t.Run("off", func(t *testing.T) {
		a := start(t, map[string]any{"enable_script_checks": true})
		a.register(ttl)
		for _, path := range []string{"/v1/agent/check/pass/beat", "/v1/agent/service/deregister/web", "/v1/agent/join/127.0.0.1", "/v1/agent/force-leave/gone"} {
			r := a.request("GET", path, "")
			if !strings.Contains(r.body, "legacy_api") {
				t.Errorf("GET %s: the body %q has no hint", path, r.body)
			}
			if r.status != http.StatusMethodNotAllowed || !strings.Contains(r.header.Get("X-Skerry-Hint"), "legacy_api") {
				t.Errorf("GET %s: %d, hint %q; want 405 and a hint at legacy_api", path, r.status, r.header.Get("X-Skerry-Hint"))
			}
		}
		if r := a.request("PUT", "/v1/agent/service/register", script); r.status != http.StatusBadRequest || !strings.Contains(r.body, "legacy_api") {
			t.Errorf("Script: %d %q, want a refusal that names legacy_api", r.status, r.body)
		}
		a.awaitInstances("web", "web critical")
	})
	t.Run("on", func(t *testing.T) {
		a := start(t, map[string]any{"enable_script_checks": true, "legacy_api": true})
		a.register(ttl, script)
		a.ok("GET", "/v1/agent/check/pass/beat", "")
		for _, path := range []string{"/v1/agent/force-leave/gone", "/v1/agent/join/127.0.0.1"} {
			if r := a.request("GET", path, ""); r.status == http.StatusMethodNotAllowed {
				t.Errorf("GET %s: %d %q", path, r.status, r.body)
			}
		}
		a.awaitInstances("web", "web passing")
		a.awaitInstances("old", "old passing")
		a.ok("GET", "/v1/agent/service/deregister/web", "")
		a.awaitInstances("web")
	})
}
