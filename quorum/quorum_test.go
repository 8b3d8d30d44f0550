package quorum

import (
	"log/slog"
	"net/url"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/quorum/kvtest"
)

func open(t testing.TB, cfg Embedded) *Store {
	t.Helper()
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
}

func TestEmbeddedKeepsThePromises(t *testing.T) {
	t.Parallel()
	s := open(t, Embedded{Dir: t.TempDir()})
	defer s.Close()
	kvtest.Run(t, func(*testing.T) skerry.KV { return s }, flip)
}

func TestExternalKeepsThePromises(t *testing.T) {
	t.Parallel()
	endpoint := cluster(t)
	s, err := Dial(t.Context(), External{Endpoints: []string{endpoint}, Prefix: "team/registry/", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	defer s.Close()
	kvtest.Run(t, func(*testing.T) skerry.KV { return s }, flip)
}

// cluster is an etcd that others may use too, reached over the network.
func cluster(t *testing.T) string { return clusterOf(t, 4096) }

func clusterOf(t *testing.T, ops uint) string {
	conf := embed.NewConfig()
	conf.Dir = t.TempDir()
	any := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	conf.ListenPeerUrls, conf.ListenClientUrls = []url.URL{any}, []url.URL{any}
	conf.AdvertisePeerUrls, conf.AdvertiseClientUrls = []url.URL{any}, []url.URL{any}
	conf.InitialCluster = conf.InitialClusterFromName(conf.Name)
	conf.MaxTxnOps = ops
	conf.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(conf)
	if err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	t.Cleanup(e.Close)
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(30 * time.Second):
		t.Fatal("etcd is not ready")
	}
	return e.Clients[0].Addr().String()
}

func TestReadyOnAnEmptyFolder(t *testing.T) {
	started := time.Now()
	s := open(t, Embedded{Dir: t.TempDir()})
	t.Logf("ready after %v", time.Since(started))
	if err := s.Sync(t.Context()); err != nil {
		t.Errorf("sync: %v", err)
	}
	s.Close()
}
