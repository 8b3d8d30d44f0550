package skerryotel_test

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/clienttest"
	"github.com/skerryhq/skerry/client/figures"
	"github.com/skerryhq/skerry/client/lb"
	"github.com/skerryhq/skerry/client/otel"
	"github.com/skerryhq/skerry/client/sourcetest"
)

func TestRegister(t *testing.T) {
	m := &clienttest.Manual{}
	c := client.New(m, client.WithCacheDir(""))
	defer c.Close()
	m.Set("orders", "a:1", "b:1")
	sourcetest.Await(t, c, "orders", time.Minute, "all", func(s client.Snapshot) bool { return len(s.Instances) == 2 })
	r, err := c.Register(client.Instance{Service: "web", Address: "10.0.0.1:1"}, client.WithPropagation(0), client.WithReady(func(context.Context) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b := lb.New(lb.Options{})
	b.Update(0, []lb.Node{{Key: "a:1"}, {Key: "b:1"}})
	for range 3 {
		b.Pick(0, lb.Request{Exclude: func(n *lb.Node) bool { return n.Key != "b:1" }}).Done(time.Millisecond, lb.Failed)
	}
	defer c.Attach("orders", "grpc", func() []lb.State { return b.States(time.Millisecond) })()
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	if _, err := skerryotel.Register(provider.Meter("test"), client.GroupOf("main", c)); err != nil {
		t.Fatal(err)
	}
	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	seen := map[string]metricdata.Aggregation{}
	for _, m := range got.ScopeMetrics[0].Metrics {
		seen[m.Name] = m.Data
	}
	for _, f := range figures.All {
		if seen[f.Name] == nil {
			t.Errorf("%s is not told", f.Name)
		}
	}
	failed := attribute.NewSet(attribute.String("client", "main"), attribute.String("service", "orders"), attribute.String("balancer", "grpc-1"),
		attribute.String("instance", "b:1"), attribute.String("result", "failed"))
	found := false
	for _, p := range seen["skerry.client.calls"].(metricdata.Sum[float64]).DataPoints {
		if p.Attributes.Equals(&failed) {
			if found = true; p.Value != 3 {
				t.Errorf("%v calls failed, want 3", p.Value)
			}
		}
	}
	if !found {
		t.Errorf("the calls that failed are not told: %+v", seen["skerry.client.calls"])
	}
}
