package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

// Prometheus' own Consul discovery finds instances, with their labels, and sees
// them come and go.
func TestPrometheusConsulDiscovery(t *testing.T) {
	targets := program.Build(t, "test/tools", "./targets")
	a := start(t, nil)
	a.register(`{"ID": "m-1", "Name": "metrics", "Address": "10.4.0.1", "Port": 9100, "Tags": ["release", "blue"], "Meta": {"path": "m"}}`)
	cmd := exec.Command(targets, a.http, "metrics")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	launch(t, cmd)
	lines := bufio.NewScanner(out)
	// until reads changes until one has exactly these addresses.
	until := func(want ...string) []map[string]string {
		t.Helper()
		for lines.Scan() {
			var groups []map[string]string
			if err := json.Unmarshal(lines.Bytes(), &groups); err != nil {
				t.Fatalf("%v in %s", err, lines.Text())
			}
			addresses := []string{}
			for _, g := range groups {
				addresses = append(addresses, g["__address__"])
			}
			if fmt.Sprint(addresses) == fmt.Sprint(want) {
				return groups
			}
		}
		t.Fatalf("the discovery ended without having seen %v: %v", want, lines.Err())
		return nil
	}
	labels := until("10.4.0.1:9100")[0]
	for name, want := range map[string]string{
		"__meta_consul_node": "n1", "__meta_consul_dc": "dc1", "__meta_consul_tags": ",release,blue,", "__meta_consul_health": "passing",
		"__meta_consul_service": "metrics", "__meta_consul_service_id": "m-1", "__meta_consul_service_metadata_path": "m",
	} {
		if labels[name] != want {
			t.Errorf("label %s is %q, want %q", name, labels[name], want)
		}
	}
	a.register(`{"ID": "m-2", "Name": "metrics", "Address": "10.4.0.2", "Port": 9100}`)
	until("10.4.0.1:9100", "10.4.0.2:9100")
	a.ok("PUT", "/v1/agent/service/deregister/m-1", "")
	until("10.4.0.2:9100")
}

// Debian's Prometheus finds us by our own SRV records and scrapes us.
func TestPrometheusDNSDiscovery(t *testing.T) {
	program.Need(t, "prometheus", "unshare", "mount")
	// Prometheus asks whom resolv.conf names, and that on port 53.
	const server = "127.53.0.53"
	l, err := net.Listen("tcp", server+":53")
	if errors.Is(err, fs.ErrPermission) {
		t.Skip("not allowed to listen on port 53, where Prometheus asks")
	}
	if err != nil {
		t.Skipf("port 53 of %s is taken: %v", server, err)
	}
	l.Close()
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("not allowed to give Prometheus its own resolv.conf: %s", out)
	}
	a := start(t, map[string]any{
		"addresses": map[string]any{"dns": server}, "ports": map[string]any{"dns": 53},
		"telemetry": map[string]any{"prometheus_retention_time": "1h"},
	})
	host, port, _ := net.SplitHostPort(a.http)
	a.register(fmt.Sprintf(`{"ID": "m-1", "Name": "metrics", "Address": %q, "Port": %s}`, host, port))

	dir, web := t.TempDir(), local(program.Port(t))
	resolv, config := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "prometheus.yml")
	write(t, resolv, "nameserver "+server+"\n")
	write(t, config, `global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: skerry
  metrics_path: /v1/agent/metrics
  params: {format: [prometheus]}
  dns_sd_configs:
  - {names: [metrics.service.consul], type: SRV, refresh_interval: 1s}
`)
	background(t, "unshare", "--mount", "--propagation", "private", "sh", "-c",
		`mount --bind "$1" "$(readlink -f /etc/resolv.conf)" && shift && exec "$@"`, "sh", resolv,
		"prometheus", "--config.file", config, "--web.listen-address", web, "--storage.tsdb.path", filepath.Join(dir, "data"))
	await(t, "the target", func() error {
		r, err := tryRequest(http.DefaultClient, "GET", "http://"+web+"/api/v1/targets", "")
		if err != nil {
			return err
		}
		if n := strings.Count(r.body, `"health":"up"`); n != 1 {
			return fmt.Errorf("%d targets are up, want 1: %.600s", n, r.body)
		}
		return nil
	})
	await(t, "a sample", func() error {
		r, err := tryRequest(http.DefaultClient, "GET", "http://"+web+"/api/v1/query?query=up", "")
		if err == nil && !strings.Contains(r.body, `"1"]`) {
			err = fmt.Errorf("up is %s", r.body)
		}
		return err
	})
}
