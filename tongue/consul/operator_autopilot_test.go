package consul

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
)

// fleet is servers as this one sees them; the first leads.
type fleet struct {
	members []skerry.Member
	look    func([]skerry.Member) // before members are shown; nil: nothing
	removed []string
	leads   []string // to whom the lead was handed
	body    string   // of requests
	decided skerry.Autopilot
}

func (f *fleet) Autopilot() (skerry.Autopilot, error) { return f.decided, nil }

func (f *fleet) SetAutopilot(_ context.Context, a skerry.Autopilot, after *uint64) (bool, error) {
	if after != nil && *after != f.decided.Modified {
		return false, nil
	}
	a.Modified = f.decided.Modified + 1
	f.decided = a
	return true, nil
}

func (f *fleet) Members() []skerry.Member {
	if f.look != nil {
		f.look(f.members)
	}
	return f.members
}
func (f *fleet) Leader() (skerry.Member, bool)      { return f.members[0], true }
func (f *fleet) LastContact() (time.Duration, bool) { return 0, true }
func (f *fleet) CatalogAge() time.Duration          { return 0 }
func (f *fleet) CatchUp(context.Context) error      { return nil }

func (f *fleet) RemoveServer(_ context.Context, name string) error {
	f.removed = append(f.removed, name)
	return nil
}

func (f *fleet) TransferLeader(_ context.Context, name string) error {
	if name == "c" {
		return skerry.Errorf(skerry.NotFound, "no other member with a vote can take leadership (c)")
	}
	f.leads = append(f.leads, name)
	return nil
}

func server(name string, alive bool) skerry.Member {
	return skerry.Member{Self: skerry.Self{Name: name, ID: "id-" + name, Datacenter: "dc1", Server: true}, Address: name + ":8300", Alive: alive, Voter: true}
}

// answer asks a front-end of these servers.
func (f *fleet) answer(t *testing.T, method, path string, into any) int {
	t.Helper()
	front, err := New(Config{Log: slog.New(slog.DiscardHandler)},
		Backend{Self: f.members[0].Self, Cluster: f, Servers: f, Settings: f, Catalog: catalog.New(catalog.Config{})}, NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	front.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(f.body)))
	if into != nil {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatalf("%s: %d %s: %v", path, w.Code, w.Body, err)
		}
	}
	return w.Code
}

func TestAutopilot(t *testing.T) {
	f := &fleet{members: []skerry.Member{server("a", true), server("b", true), server("c", true)}}
	var health api.OperatorHealthReply
	if code := f.answer(t, "GET", "/v1/operator/autopilot/health", &health); code != http.StatusOK || !health.Healthy || health.FailureTolerance != 1 {
		t.Errorf("three servers: %d %+v", code, health)
	}
	f.members[2].Alive = false
	if code := f.answer(t, "GET", "/v1/operator/autopilot/health", &health); code != http.StatusTooManyRequests || health.Healthy || health.FailureTolerance != 0 {
		t.Errorf("one is down: %d %+v", code, health)
	}
	var state api.AutopilotState
	code := f.answer(t, "GET", "/v1/operator/autopilot/state", &state)
	if code != http.StatusOK || state.Healthy || state.Leader != "id-a" || len(state.Voters) != 3 || state.Servers["id-c"].NodeStatus != "failed" || state.Servers["id-b"].Status != "voter" {
		t.Errorf("the state: %d %+v", code, state)
	}
}

func TestAutopilotIsConfigured(t *testing.T) {
	const path = "/v1/operator/autopilot/configuration"
	f := &fleet{members: []skerry.Member{server("a", true)}}
	standard := skerry.Autopilot{
		CleanupDeadServers: true, LastContactThreshold: 200 * time.Millisecond, MaxTrailingLogs: 250, ServerStabilizationTime: 10 * time.Second, Modified: 7,
	}
	other := skerry.Autopilot{
		MinQuorum: 3, LastContactThreshold: time.Second, MaxTrailingLogs: 1, ServerStabilizationTime: time.Minute, RedundancyZoneTag: "zone",
		DisableUpgradeMigration: true, UpgradeVersionTag: "v", Modified: 7,
	}
	const otherBody = `{"CleanupDeadServers": false, "MinQuorum": 3, "LastContactThreshold": "1s", "MaxTrailingLogs": 1, "ServerStabilizationTime": 60000000000,
		"RedundancyZoneTag": "zone", "DisableUpgradeMigration": true, "UpgradeVersionTag": "v", "CreateIndex": 1, "ModifyIndex": 2}`
	for _, tt := range []struct {
		path, body string
		code       int
		set        bool
		want       skerry.Autopilot
	}{
		{path, `{}`, 200, true, standard},
		{path, otherBody, 200, true, other},
		{path + "?cas=6", `{}`, 200, true, standard},
		{path + "?cas=5", `{}`, 200, false, skerry.Autopilot{Modified: 6}},
		{path + "?cas=x", `{}`, 500, false, skerry.Autopilot{Modified: 6}},
		{path, `{"ServerStabilizationTime": "-1s"}`, 400, false, skerry.Autopilot{Modified: 6}},
		{path, `{"LastContactThreshold": "0s"}`, 400, false, skerry.Autopilot{Modified: 6}},
		{path, `{"MinQuorum": -1}`, 400, false, skerry.Autopilot{Modified: 6}},
		{path, `{"Unknown": 1}`, 400, false, skerry.Autopilot{Modified: 6}},
		{path, ``, 400, false, skerry.Autopilot{Modified: 6}},
	} {
		f.decided, f.body = skerry.Autopilot{Modified: 6}, tt.body
		set := false
		into := any(&set)
		if tt.code != http.StatusOK {
			into = nil
		}
		if code := f.answer(t, "PUT", tt.path, into); code != tt.code || set != tt.set || f.decided != tt.want {
			t.Errorf("%s %s: %d, set %v, %+v", tt.path, tt.body, code, set, f.decided)
		}
	}
	f.decided = other
	var conf api.AutopilotConfiguration
	f.answer(t, "GET", path+"?stale", &conf)
	if conf.MinQuorum != 3 || conf.ModifyIndex != 7 || *conf.ServerStabilizationTime != api.ReadableDuration(time.Minute) || conf.RedundancyZoneTag != "zone" {
		t.Errorf("the answer is %+v", conf)
	}
}

func TestServersAreRemoved(t *testing.T) {
	f := &fleet{members: []skerry.Member{server("a", true), server("b", true), server("c", false)}}
	for _, tt := range []struct {
		method, path string
		code         int
		removes      string
	}{
		{"DELETE", "/v1/operator/raft/peer?id=id-b", 200, "b"},
		{"DELETE", "/v1/operator/raft/peer?address=c:8300", 200, "c"},
		{"DELETE", "/v1/operator/raft/peer?address=d:8300", 500, ""},
		{"DELETE", "/v1/operator/raft/peer", 400, ""},
		{"PUT", "/v1/agent/force-leave/c", 200, "c"},
		{"PUT", "/v1/agent/force-leave/b", 200, ""}, // it is up
		{"PUT", "/v1/agent/force-leave/d", 500, ""},
	} {
		f.removed = nil
		code := f.answer(t, tt.method, tt.path, nil)
		if code != tt.code || (tt.removes == "") != (f.removed == nil) || f.removed != nil && f.removed[0] != tt.removes {
			t.Errorf("%s %s: %d, removes %v, want %d and %q", tt.method, tt.path, code, f.removed, tt.code, tt.removes)
		}
	}
}

// Another server may show already that a server is down: one that counts as up here is heard
// once more, or is removed.
func TestAServerThatDiedAMomentAgoIsRemoved(t *testing.T) {
	for _, dies := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			died := time.Now()
			f := &fleet{members: []skerry.Member{server("a", true), server("b", true)}}
			f.look = func(members []skerry.Member) {
				b, since := &members[1], time.Since(died)
				b.Heard = since + time.Second
				switch {
				case dies && since > 700*time.Millisecond:
					b.Alive = false
				case !dies && since > 400*time.Millisecond:
					b.Heard = since - 400*time.Millisecond
				}
			}
			code := f.answer(t, "PUT", "/v1/agent/force-leave/b", nil)
			if removed := slices.Equal(f.removed, []string{"b"}); code != 200 || removed != dies {
				t.Errorf("dies: %v: %d, removes %v", dies, code, f.removed)
			}
		})
	}
}

func TestTheLeadIsHandedOver(t *testing.T) {
	f := &fleet{members: []skerry.Member{server("a", true), server("b", true), server("c", false)}}
	for _, tt := range []struct {
		method, path string
		code         int
		to           []string
	}{
		{"POST", "/v1/operator/raft/transfer-leader?id=id-b", 200, []string{"b"}},
		{"PUT", "/v1/operator/raft/transfer-leader", 200, []string{""}},
		{"POST", "/v1/operator/raft/transfer-leader?id=id-c", 500, nil},
		{"POST", "/v1/operator/raft/transfer-leader?id=id-d", 500, nil},
		{"GET", "/v1/operator/raft/transfer-leader", 405, nil},
	} {
		f.leads = nil
		var answer api.TransferLeaderResponse
		into := any(&answer)
		if tt.code != http.StatusOK {
			into = nil
		}
		code := f.answer(t, tt.method, tt.path, into)
		if code != tt.code || !slices.Equal(f.leads, tt.to) || answer.Success != (code == http.StatusOK) {
			t.Errorf("%s %s: %d, leads %v, %+v", tt.method, tt.path, code, f.leads, answer)
		}
	}
	alone := &fleet{members: f.members[:1]}
	if code := alone.answer(t, "POST", "/v1/operator/raft/transfer-leader", nil); code != http.StatusInternalServerError || alone.leads != nil {
		t.Errorf("a server alone: %d, %v", code, alone.leads)
	}
}
