package server

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
)

// running starts a server that keeps nothing and listens where cfg says, until
// the test ends.
func running(t *testing.T, cfg Config, reload func() (Config, error)) *Server {
	t.Helper()
	s, err := New(completed(cfg), reload, func() {})
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
	cfg.Stream = NewLogStream(slog.DiscardHandler)
	cfg.Log = slog.New(cfg.Stream.Handler())
	cfg.Advertise, cfg.ServerPort = "127.0.0.1", 8300
	if cfg.Limits == (Limits{}) {
		cfg.Limits.ConnsPerClient = -1
	}
	c := &cfg.Consul
	c.Datacenter, c.NodeName, c.NodeID, c.Server = "dc1", "n1", "11111111-2222-3333-4444-555555555555", true
	c.BindAddr, c.ServerAddr = "127.0.0.1", "127.0.0.1:8300"
	c.Log, c.MetricsOn, c.MetricPrefix = cfg.Log, true, "consul"
	return cfg
}
