// Package skerryotel exports the metrics of clients by OpenTelemetry: of each list
// whether it is live, and of each instance its share of the calls, its cost, and
// whether and why it is out.
//
//	c, err := client.Open("skerry://127.0.0.1:8500")
//	…
//	_, err = skerryotel.Register(otel.Meter("orders"), client.GroupOf("main", c))
//
// The names are those of package client/figures.
package skerryotel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/figures"
)

// Register lets a meter observe the figures of the clients in a group, until the
// registration is unregistered. They are read when the meter asks for them: nothing is
// done in between.
func Register(m metric.Meter, g *client.Group) (metric.Registration, error) {
	instruments := map[*figures.Figure]metric.Float64Observable{}
	var all []metric.Observable
	for _, f := range figures.All {
		i, err := instrument(m, f)
		if err != nil {
			return nil, err
		}
		instruments[f] = i
		all = append(all, i)
	}
	return m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for p := range figures.Of(g) {
			attrs := make([]attribute.KeyValue, len(p.Labels))
			for i, l := range p.Labels {
				attrs[i] = attribute.String(p.Figure.Labels[i], l)
			}
			o.ObserveFloat64(instruments[p.Figure], p.Value, metric.WithAttributes(attrs...))
		}
		return nil
	}, all...)
}

func instrument(m metric.Meter, f *figures.Figure) (metric.Float64Observable, error) {
	if f.Counter {
		return m.Float64ObservableCounter(f.Name, metric.WithUnit(f.Unit), metric.WithDescription(f.Help))
	}
	return m.Float64ObservableGauge(f.Name, metric.WithUnit(f.Unit), metric.WithDescription(f.Help))
}
