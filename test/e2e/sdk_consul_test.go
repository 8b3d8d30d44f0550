package e2e

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/test/program"
)

// startConsul starts a real Consul that keeps nothing on the disk, and returns what
// kills it.
func startConsul(t *testing.T, bin, config, at string) (kill func()) {
	t.Helper()
	cmd := exec.Command(bin, "agent", "-dev", "-config-file", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	kill = func() { cmd.Process.Kill(); <-ended }
	t.Cleanup(kill)
	await(t, "Consul's leader", func() error {
		resp, err := http.Get("http://" + at + "/v1/status/leader")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
	return kill
}

// The SDK's source is Consul's too: with a real one, where there is one, what registers
// is found, and stays found when Consul is killed and comes back without its data.
func TestSDKWithConsul(t *testing.T) {
	onPath, _ := exec.LookPath("consul")
	bin := cmp.Or(os.Getenv("CONSUL_BIN"), onPath)
	if bin == "" {
		t.Skip("there is no Consul: neither CONSUL_BIN nor consul on PATH")
	}
	t.Parallel()
	ports := map[string]int{"dns": -1, "grpc": -1, "grpc_tls": -1}
	for _, name := range []string{"http", "serf_lan", "serf_wan", "server"} {
		ports[name] = program.Port(t)
	}
	body, err := json.Marshal(map[string]any{"bind_addr": "127.0.0.1", "log_level": "warn", "ports": ports})
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "consul.json")
	if err := os.WriteFile(config, body, 0o600); err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("127.0.0.1:%d", ports["http"])
	kill := startConsul(t, bin, config, at)
	c, err := client.Open("consul://"+at, client.WithCacheDir(t.TempDir()), client.WithHold(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var rs []*client.Registration
	for n := range 3 {
		r, err := c.Register(client.Instance{Service: "orders", Address: listener(t), Zone: fmt.Sprint("z", n), Meta: map[string]string{"v": "1"}}, client.WithTTL(3*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	s := awaitList(t, c, "orders", "registered", lives(3))
	for _, i := range s.Instances {
		if i.Zone == "" || i.Meta["v"] != "1" {
			t.Errorf("%+v", i)
		}
	}
	kill()
	awaitList(t, c, "orders", "killed", func(s client.Snapshot) bool { return s.Freshness == client.Frozen && len(s.Instances) == 3 })
	startConsul(t, bin, config, at)
	awaitList(t, c, "orders", "back without its data, and registered again", lives(3))
	for _, r := range rs {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	awaitList(t, c, "orders", "all drained", lives(0))
}
