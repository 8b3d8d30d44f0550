package node

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"testing"

	"github.com/skerryhq/skerry/door"
	"github.com/skerryhq/skerry/logstream"
)

// running starts a server that keeps nothing and listens where cfg says, until
// the test ends.
func running(t *testing.T, cfg Config, reload func() (Config, error)) *Node {
	t.Helper()
	s, err := New(t.Context(), completed(cfg), reload, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		s.Close()
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return s
}

// completed fills in what every server needs.
func completed(cfg Config) Config {
	cfg.Stream = logstream.New(slog.DiscardHandler)
	cfg.Log = slog.New(cfg.Stream.Handler())
	if cfg.Self.Name == "" {
		cfg.Self.Name, cfg.Self.ID = "n1", "11111111-2222-3333-4444-555555555555"
	}
	cfg.Self.Datacenter, cfg.Self.Server = cmp.Or(cfg.Self.Datacenter, "dc1"), true
	cfg.Record.Address, cfg.Record.ServerPort = "127.0.0.1", cmp.Or(cfg.Record.ServerPort, 8300)
	if cfg.Door.Limits == (door.Limits{}) {
		cfg.Door.Limits.ConnsPerClient = -1
	}
	c := &cfg.Consul
	c.BindAddr = "127.0.0.1"
	c.Log, c.MetricsOn, c.MetricPrefix = cfg.Log, true, "consul"
	return cfg
}
