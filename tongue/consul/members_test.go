package consul

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
)

// An agent is a member with the role of one, and the servers that it knows are none that serve alone.
func TestMembersAtAnAgent(t *testing.T) {
	self := skerry.Self{Name: "web1", ID: "id-web1", Datacenter: "dc1"}
	f := &fleet{members: []skerry.Member{server("a", true), server("b", false), {Self: self, Address: "10.0.0.1:8300", Alive: true}}}
	b := Backend{Self: self, Cluster: f, Attached: func() skerry.Attachment { return skerry.Attachment{Server: "a"} }}
	front, err := New(Config{}, b, NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	front.ServeHTTP(w, httptest.NewRequest("GET", "/v1/agent/members", nil))
	var members []*api.AgentMember
	if err := json.Unmarshal(w.Body.Bytes(), &members); err != nil || len(members) != 3 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	for _, m := range members {
		if want := m.Name != "web1"; m.Tags["bootstrap"] != "" || (m.Tags["role"] == "consul") != want || (m.Tags["port"] != "") != want {
			t.Errorf("%s has the tags %v", m.Name, m.Tags)
		}
	}
	w = httptest.NewRecorder()
	front.ServeHTTP(w, httptest.NewRequest("PUT", "/v1/agent/join/10.0.0.9", nil))
	if !strings.Contains(w.Body.String(), "retry_join") {
		t.Errorf("an agent that is to join another server: %d %s", w.Code, w.Body)
	}
}
