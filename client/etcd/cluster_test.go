package etcd

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/sourcetest"
	processes "github.com/skerryhq/skerry/test/program"
)

// member is one real etcd on loopback that can be stopped and started again.
type member struct {
	conf embed.Config
	etcd *embed.Etcd
}

// ports returns free ports of loopback.
func ports(t *testing.T, n int) (out []string) {
	t.Helper()
	for range n {
		out = append(out, net.JoinHostPort("127.0.0.1", strconv.Itoa(processes.Port(t))))
	}
	return out
}

// cluster starts so many members; change changes their configuration.
func cluster(t *testing.T, size int, change func(*embed.Config)) (members []*member, hosts []string) {
	t.Helper()
	peers := ports(t, 2*size)
	hosts = peers[size:]
	var initial []string
	for n := range size {
		initial = append(initial, fmt.Sprintf("m%d=http://%s", n, peers[n]))
	}
	for n := range size {
		conf := embed.NewConfig()
		conf.Name, conf.Dir = fmt.Sprintf("m%d", n), t.TempDir()
		peer, host := url.URL{Scheme: "http", Host: peers[n]}, url.URL{Scheme: "http", Host: hosts[n]}
		conf.ListenPeerUrls, conf.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
		conf.ListenClientUrls, conf.AdvertiseClientUrls = []url.URL{host}, []url.URL{host}
		conf.InitialCluster = strings.Join(initial, ",")
		conf.TickMs, conf.ElectionMs = 50, 500
		conf.UnsafeNoFsync = true
		conf.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
		if change != nil {
			change(conf)
		}
		members = append(members, &member{conf: *conf})
	}
	for _, m := range members {
		m.start(t)
		t.Cleanup(m.stop)
	}
	for _, m := range members {
		m.ready(t)
	}
	return members, hosts
}

func (m *member) start(t *testing.T) {
	t.Helper()
	conf := m.conf
	e, err := embed.StartEtcd(&conf)
	if err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	m.etcd = e
}

func (m *member) ready(t *testing.T) {
	t.Helper()
	select {
	case <-m.etcd.Server.ReadyNotify():
	case <-time.After(20 * time.Second):
		t.Fatal("etcd is not ready")
	}
}

func (m *member) stop() {
	if m.etcd != nil {
		m.etcd.Close()
		m.etcd = nil
	}
}

// tool is a plain client of etcd's.
func tool(t *testing.T, hosts ...string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: hosts, Logger: zap.NewNop(), DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func put(t *testing.T, c *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

func source(t *testing.T, rawURL string) *Source {
	t.Helper()
	s, err := client.OpenSource(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Source)
}

// within is how long a test waits for anything.
const within = 15 * time.Second

// until and list wait for what a source tells.
func until(t *testing.T, tell <-chan sourcetest.Told, what string, right func(sourcetest.Told) bool) sourcetest.Told {
	t.Helper()
	return sourcetest.Until(t, tell, within, what, right)
}

func list(t *testing.T, tell <-chan sourcetest.Told, want string) sourcetest.Told {
	t.Helper()
	return sourcetest.List(t, tell, within, want)
}
