// Command targets runs Prometheus' own Consul discovery against an address and
// prints every change of a target group as one line of JSON:
//
//	targets ADDRESS SERVICE
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/consul"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: targets ADDRESS SERVICE")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "targets:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address, service string) error {
	config := consul.DefaultSDConfig
	config.Server, config.Services = address, []string{service}
	config.RefreshInterval = model.Duration(100 * time.Millisecond) // the longest pause between two looks
	registry := prometheus.NewRegistry()
	metrics := config.NewDiscovererMetrics(registry, discovery.NewRefreshMetrics(registry))
	if err := metrics.Register(); err != nil {
		return err
	}
	found, err := config.NewDiscoverer(discovery.DiscovererOptions{
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Metrics: metrics,
	})
	if err != nil {
		return err
	}
	changes := make(chan []*targetgroup.Group)
	go found.Run(ctx, changes)
	out := json.NewEncoder(os.Stdout)
	for {
		select {
		case <-ctx.Done():
			return nil
		case groups := <-changes:
			for _, g := range groups {
				for _, target := range g.Targets {
					maps.Copy(target, g.Labels) // what all of the group share
				}
				if err := out.Encode(g.Targets); err != nil {
					return err
				}
			}
		}
	}
}
