package config

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

func TestParseServiceFile(t *testing.T) {
	web := func(checks ...skerry.CheckDefinition) skerry.Registration {
		return skerry.Registration{
			Instance: &skerry.Instance{ID: "web", Service: "web", Port: 80, Weights: skerry.Weights{Passing: 1, Warning: 1}},
			Checks:   checks,
		}
	}
	ttl := skerry.CheckDefinition{TTL: 10 * time.Second}
	tests := map[string]struct {
		name, data string
		services   []skerry.Registration
		checks     []skerry.CheckDefinition
	}{
		"a block":            {"a.hcl", `service { name = "web" port = 80 }`, []skerry.Registration{web()}, nil},
		"a list":             {"a.hcl", `services = [{ name = "web" port = 80 }]`, []skerry.Registration{web()}, nil},
		"an object":          {"a.json", `{"service": {"name": "web", "port": 80}}`, []skerry.Registration{web()}, nil},
		"a bare service":     {"a.json", `{"Name": "web", "Port": 80, "Check": {"TTL": "10s"}}`, []skerry.Registration{web(ttl)}, nil},
		"a bare service, ID": {"a.json", `{"ID": "web", "Name": "web", "Port": 80, "Checks": [{"TTL": "10s"}]}`, []skerry.Registration{web(ttl)}, nil},
		"no ending":          {"a", `{"Name": "web", "Port": 80}`, []skerry.Registration{web()}, nil},
		"check and checks":   {"a.hcl", `service { name = "web" port = 80 check { ttl = "10s" } checks = [{ ttl = "10s" }] }`, []skerry.Registration{web(ttl, ttl)}, nil},
		"a check alone": {"a.json", `{"check": {"name": "disk", "ttl": "10s", "notes": "n", "service_id": "web"}}`, nil,
			[]skerry.CheckDefinition{{ID: "disk", Name: "disk", TTL: 10 * time.Second, Notes: "n", ServiceID: "web"}}},
		"an alias": {"a.hcl", `check { name = "a" alias_service = "web" }`, nil, []skerry.CheckDefinition{{ID: "a", Name: "a", AliasService: "web"}}},
		"a docker script": {"a.hcl", `check { id = "d" name = "a" DockerContainerID = "f0" shell = "/bin/sh" ScriptArgs = ["true"] interval = "1s" }`, nil,
			[]skerry.CheckDefinition{{ID: "d", Name: "a", DockerContainerID: "f0", Shell: "/bin/sh", Args: []string{"true"}, Interval: time.Second}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			services, checks, err := ParseServiceFile(tt.name, []byte(tt.data), false)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(services, tt.services) || !reflect.DeepEqual(checks, tt.checks) {
				t.Errorf("got %s %s", asJSON(services), asJSON(checks))
			}
		})
	}
}

func asJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func TestServiceExtras(t *testing.T) {
	services, _, err := ParseServiceFile("a.json", []byte(`{"service": {
		"name": "web", "service_id": "w1", "replace_existing_checks": true, "ports": [{"name": "admin", "port": 9, "default": true}],
		"kind": "connect-proxy", "proxy": {"destination_service_name": "db", "config": {"a_b": [1, 2.5, true, null, "x"]}},
		"weights": {"passing": 3, "warning": 0}}}`), false)
	if err != nil {
		t.Fatal(err)
	}
	i := services[0].Instance
	if i.ID != "w1" || !services[0].ReplaceChecks || i.Weights != (skerry.Weights{Passing: 3}) {
		t.Errorf("got %s", asJSON(services))
	}
	if want := `{"Config":{"a_b":[1,2.5,true,null,"x"]},"DestinationServiceName":"db"}`; string(i.Extra.Proxy) != want {
		t.Errorf("proxy %s, want %s", i.Extra.Proxy, want)
	}
	if i.Extra.Kind != "connect-proxy" || len(i.Extra.Ports) != 1 || !i.Extra.Ports[0].Default {
		t.Errorf("extra %s", asJSON(i.Extra))
	}
}

func TestParseServiceFileErrors(t *testing.T) {
	tests := map[string][]string{
		``:                                {"no service or check in x.hcl"},
		`services = []`:                   {"no service or check in x.hcl"},
		`datacenter = "x"`:                {"unknown key datacenter in x.hcl:1"},
		`service "web" { port = 1 }`:      {"unknown key services[0].web in x.hcl:1"},
		`service { prot = 1 }`:            {"unknown key services[0].prot in x.hcl:1; did you mean port?"},
		`service { nam = "a" idd = "b" }`: {"did you mean name?", "did you mean id?"},
		`service = 7`:                     {"services: want an object or a list of objects, found the number 7 in x.hcl:1"},
		`service { name = "a" check { script = "x" interval = "1s" } }`: {"unknown key services[0].checks[0].script"},
		`check { name = "a" ttl = "-1s" }`:                              {"must not be negative"},
	}
	for data, want := range tests {
		services, checks, err := ParseServiceFile("x.hcl", []byte(data), false)
		if err == nil {
			t.Errorf("%s: no error", data)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: got %v, want %q", data, err, w)
			}
		}
		if services != nil || checks != nil {
			t.Errorf("%s: there are definitions beside the error", data)
		}
	}
}

func TestListeners(t *testing.T) {
	c := load(t, Source{HCL: []string{`client_addr = "127.0.0.1 ::1" addresses { http = "[::1] unix:///s" } ports { dns = 53 }`}})
	tests := map[string][]Listener{
		"dns":   {{"tcp", "127.0.0.1:53"}, {"tcp", "[::1]:53"}},
		"http":  {{"tcp", "[::1]:8500"}, {"unix", "/s"}},
		"https": nil,
	}
	for protocol, want := range tests {
		got, err := c.Listeners(protocol)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, %v, want %v", protocol, got, err, want)
		}
	}
	if _, err := c.Listeners("smtp"); err == nil {
		t.Error("no error for a protocol that does not listen")
	}
}

func TestAdvertise(t *testing.T) {
	for text, want := range map[string]string{
		`bind_addr = "192.0.2.1"`:                              "192.0.2.1",
		`bind_addr = "192.0.2.1" advertise_addr = "192.0.2.2"`: "192.0.2.2",
		`bind_addr = "0.0.0.0" advertise_addr = "2001:db8::1"`: "2001:db8::1",
	} {
		if got, err := load(t, Source{HCL: []string{text}}).Advertise(); err != nil || got.String() != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	// Whatever network this host has, the default is an address that can be told.
	got, err := Default().Advertise()
	if err != nil || !got.IsValid() || got.IsUnspecified() {
		t.Errorf("by default: got %v, %v", got, err)
	}
	if _, err := load(t, Source{HCL: []string{`bind_addr = "x"`}}).Advertise(); err == nil {
		t.Error("no error for a bind_addr that is no address")
	}
}
