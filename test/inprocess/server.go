// Package inprocess runs a whole server inside a test's own process, so that
// coverage and the race detector see it.
package inprocess

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/door"
	"github.com/skerryhq/skerry/logstream"
	"github.com/skerryhq/skerry/node"
	"github.com/skerryhq/skerry/tongue/consul"
)

// NodeID is the id of the node n1 that Start makes.
const NodeID = "11111111-2222-3333-4444-555555555555"

// Start runs a server that keeps nothing, with node n1 in datacenter dc1, until
// the test ends. It returns the address of its HTTP API.
func Start(t testing.TB) string { return StartWith(t, func(*node.Config) {}).HTTP[0] }

// StartWith is Start with a changed configuration. It returns all addresses.
func StartWith(t testing.TB, change func(*node.Config)) door.Addrs {
	t.Helper()
	stream := logstream.New(slog.DiscardHandler)
	log := slog.New(stream.Handler())
	cfg := node.Config{
		Self:   skerry.Self{Name: "n1", ID: NodeID, Datacenter: "dc1", Server: true},
		Role:   node.DevRole,
		Record: node.Record{Address: "127.0.0.1", ServerPort: 8300}, Autopilot: skerry.DefaultAutopilot(),
		Door: door.Config{HTTP: []string{"127.0.0.1:0"}, Limits: door.Limits{ConnsPerClient: -1}},
		Consul: consul.Config{
			BindAddr: "127.0.0.1", MetricsOn: true, Version: "0.0.0", Log: log,
		},
		Log: log, Stream: stream,
		Debug: map[string]any{"NodeName": "n1"},
	}
	change(&cfg)
	s, err := node.New(context.Background(), cfg, func() (node.Config, error) { return cfg, nil }, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the server ended with %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("the server did not end")
		}
	})
	return s.Addrs()
}
