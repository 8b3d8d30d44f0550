package node

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/door"
	"github.com/skerryhq/skerry/pki"
	"github.com/skerryhq/skerry/pki/disk"
	"github.com/skerryhq/skerry/test/program"
)

var documented = regexp.MustCompile("`(skerry_[a-z_]+\\*?)(\\{[a-z]+\\})?`")

// doc/metrics.md names every metric that is served, and no other.
func TestTheMetricsAreThoseOfTheDocument(t *testing.T) {
	doc, err := os.ReadFile("../doc/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	s := running(t, Config{Door: door.Config{HTTP: []string{"127.0.0.1:0"}}, Role: DevRole, ACL: ACL{Enabled: true, DryRun: true}}, nil)
	if err := s.store.kv.Sync(t.Context()); err != nil { // it waits until the store is open
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + s.Addrs().HTTP[0] + "/v1/snapshot") // some figures are of the last one
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("snapshot: %v %v", resp, err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	served := map[string]bool{}
	moves := first(t)
	certify(t, moves.DataDir)
	moves.Cluster.TokenFile, moves.Cluster.Mixed = "used", true
	one := running(t, moves, nil)
	another := first(t)
	another.Self.Name, another.Self.ID = "n2", "22222222-2222-3333-4444-555555555555"
	another.Cluster.Expect, another.Cluster.Join = 0, []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(one.cfg.Cluster.ServerPort))}
	running(t, another, nil)
	late := time.After(time.Minute)
	for { // some figures are of other servers: their agents' registrations come from them
		_, changed := one.table.Watch(skerry.Topic{Kind: skerry.TopicService, Name: serversService})
		if len(one.table.Service(serversService).Entries) == 2 {
			break
		}
		select {
		case <-changed:
		case <-late:
			t.Fatal("the servers do not hear each other")
		}
	}
	one.registry.Canary(true)
	joins := first(t)
	joins.Role, joins.Self.Name, joins.Self.ID = AgentRole, "web1", "33333333-2222-3333-4444-555555555555"
	joins.Cluster = Cluster{Join: another.Cluster.Join}
	joins.ACL = ACL{Enabled: true, DryRun: true} // it joins also servers that do not control access
	attached := running(t, joins, nil)
	if err := program.Await(time.Minute, attached.attachedReady); err != nil {
		t.Fatal(err)
	}
	resp, err = http.Get("http://" + attached.Addrs().HTTP[0] + "/v1/catalog/services")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("a request that is passed on: %v %v", resp, err)
	}
	resp.Body.Close()
	for _, n := range []*Node{s, one} {
		if err := n.store.kv.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := first(t)
	elsewhere.Self.Datacenter, elsewhere.Cluster.JoinWAN = "dc2", another.Cluster.Join
	elsewhere.ACL = ACL{Enabled: true, DryRun: true, Primary: "dc1"}
	copies := running(t, elsewhere, nil)
	if err := program.Await(time.Minute, func() error {
		if all := one.far.Datacenters(); len(all) == 0 || all[0].Distance == 0 {
			return fmt.Errorf("dc2 is not reached: %v", all)
		}
		if one.store.decided.Coordinates.Get(one.cfg.Self.Name) == nil {
			return errors.New("no round trip was measured")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*Node{s, one, attached, copies} {
		families, err := n.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if strings.HasPrefix(f.GetName(), "skerry_") {
				served[f.GetName()] = true
			}
		}
	}
	for _, m := range documented.FindAllStringSubmatch(string(doc), -1) {
		prefix, all := strings.CutSuffix(m[1], "*")
		found := false
		for name := range served {
			if name == prefix || all && strings.HasPrefix(name, prefix) {
				found = true
				delete(served, name)
			}
		}
		if !found {
			t.Errorf("%s is documented and not served", m[1])
		}
	}
	for name := range served {
		t.Errorf("%s is served and not documented", name)
	}
}

// certify makes an authority and the certificate of the server n1 in a data folder.
func certify(t *testing.T, dataDir string) {
	t.Helper()
	folder := disk.Folder(filepath.Join(dataDir, "pki"))
	authority, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := folder.Key()
	if err != nil {
		t.Fatal(err)
	}
	request, err := pki.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	h, err := authority.Sign(request, pki.Name{Datacenter: "dc1", Kind: pki.Server, Node: "n1"}, time.Now(), time.Hour)
	if err = errors.Join(err, folder.SaveAuthority(authority), folder.Save(h)); err != nil {
		t.Fatal(err)
	}
}

// Requests are counted on after a reload.
func TestRequestsAreCountedOverReloads(t *testing.T) {
	cfg := Config{Door: door.Config{HTTP: []string{"127.0.0.1:0"}}}
	s := running(t, cfg, func() (Config, error) { return completed(cfg), nil })
	for reloads := range 3 {
		for range 2 {
			resp, err := http.Get("http://" + s.Addrs().HTTP[0] + "/v1/agent/services")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		if got, want := requestsCounted(t, s, "/v1/agent/services"), uint64(2*reloads+2); got != want {
			t.Errorf("after %d reloads %d requests are counted, want %d", reloads, got, want)
		}
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
	}
}

// requestsCounted is how many requests to an endpoint the metrics tell of.
func requestsCounted(t *testing.T, s *Node, endpoint string) uint64 {
	t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "skerry_http_request_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == endpoint {
				return m.GetHistogram().GetSampleCount()
			}
		}
	}
	return 0
}
