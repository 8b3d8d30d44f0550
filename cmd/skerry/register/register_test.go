package register

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/config"
)

// every is a service with every field, as a file has it.
const every = `service {
  id = "web-1"
  name = "web"
  tags = ["a", "b"]
  address = "192.0.2.1"
  port = 80
  ports = [{ name = "admin", port = 81, default = true }]
  socket_path = "/run/web.sock"
  meta { k = "v" }
  tagged_addresses { wan { address = "192.0.2.2", port = 8080 } }
  enable_tag_override = true
  weights { passing = 5, warning = 2 }
  locality { region = "eu", zone = "a" }
  kind = "connect-proxy"
  proxy { destination_service_name = "db" }
  connect { native = true }
  checks = [
    { id = "c1", name = "n", notes = "x", status = "warning", http = "http://x", method = "PUT", body = "b", header { A = ["1"] },
      disable_redirects = true, interval = "5s", timeout = "1s", tls_server_name = "s", tls_skip_verify = true,
      success_before_passing = 1, failures_before_warning = 2, failures_before_critical = 3,
      deregister_critical_service_after = "2m", output_max_size = 100 },
    { tcp = "x:1", tcp_use_tls = true, interval = "1s" },
    { udp = "x:1", interval = "1s" },
    { grpc = "x:1", grpc_use_tls = true, interval = "1s" },
    { h2ping = "x:1", h2ping_use_tls = true, interval = "1s" },
    { os_service = "sshd", interval = "1s" },
    { args = ["true", "x"], docker_container_id = "f0", shell = "/bin/sh", interval = "1s" },
    { alias_node = "n", alias_service = "s" },
    { ttl = "10s" },
  ]
}`

// What is sent is read again as the agent would: nothing may be lost on the way.
func TestServiceKeepsEverything(t *testing.T) {
	want, _, err := config.ParseServiceFile("every.hcl", []byte(every), false)
	if err != nil {
		t.Fatal(err)
	}
	body, err := ServiceOf(want[0])
	if err != nil {
		t.Fatal(err)
	}
	sent, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := config.ParseServiceFile("sent.json", sent, false)
	if err != nil {
		t.Fatalf("%v in %s", err, sent)
	}
	for _, r := range [][]skerry.Registration{want, got} {
		x := r[0].Instance.Extra
		if !json.Valid(x.Proxy) || !json.Valid(x.Connect) {
			t.Fatalf("proxy %s, connect %s", x.Proxy, x.Connect)
		}
		// The library writes more of these than was given.
		x.Proxy, x.Connect = nil, nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("sent\n%s\ngot\n%+v\nwant\n%+v", sent, got[0], want[0])
	}
	if body.Proxy.DestinationServiceName != "db" || !body.Connect.Native {
		t.Errorf("proxy %+v, connect %+v", body.Proxy, body.Connect)
	}
}

func TestNodeCheckKeepsItsNames(t *testing.T) {
	_, checks, err := config.ParseServiceFile("c.hcl", []byte(`check { id = "c" name = "n" service_id = "s" ttl = "1s" }`), false)
	if err != nil {
		t.Fatal(err)
	}
	b := NodeCheckOf(checks[0])
	if b.ID != "c" || b.CheckID != "" || b.Name != "n" || b.ServiceID != "s" || b.TTL != "1s" {
		t.Errorf("got %+v", b)
	}
}

func TestBrokenMeshConfiguration(t *testing.T) {
	for _, x := range []*skerry.Extra{{Proxy: []byte(`[]`)}, {Connect: []byte(`7`)}} {
		if _, err := ServiceOf(skerry.Registration{Instance: &skerry.Instance{ID: "a", Extra: x}}); err == nil {
			t.Errorf("no error for %s%s", x.Proxy, x.Connect)
		}
	}
}
