// Package skerryprometheus exports the metrics of clients to Prometheus: of each list
// whether it is live, and of each instance its share of the calls, its cost, and
// whether and why it is out.
//
//	c, err := client.Open("skerry://127.0.0.1:8500")
//	…
//	prometheus.MustRegister(skerryprometheus.NewCollector(client.GroupOf("main", c)))
//
// The names are those of package client/figures, with underscores.
package skerryprometheus

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/figures"
)

// NewCollector returns a collector of the figures of the clients in a group. They are
// read when they are asked for: nothing is done in between.
func NewCollector(g *client.Group) prometheus.Collector {
	c := &collector{g, map[*figures.Figure]*prometheus.Desc{}}
	for _, f := range figures.All {
		c.descs[f] = prometheus.NewDesc(nameOf(f), f.Help+".", f.Labels, nil)
	}
	return c
}

// nameOf returns a figure's name as Prometheus writes it.
func nameOf(f *figures.Figure) string {
	name := strings.ReplaceAll(f.Name, ".", "_")
	switch {
	case f.Counter:
		return name + "_total"
	case f.Unit == "s" && strings.HasSuffix(name, "_confirmed"):
		return name + "_timestamp_seconds"
	case f.Unit == "s":
		return name + "_seconds"
	}
	return name
}

type collector struct {
	group *client.Group
	descs map[*figures.Figure]*prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(to chan<- prometheus.Metric) {
	for p := range figures.Of(c.group) {
		kind := prometheus.GaugeValue
		if p.Counter {
			kind = prometheus.CounterValue
		}
		m, err := prometheus.NewConstMetric(c.descs[p.Figure], kind, p.Value, p.Labels...)
		if err != nil { // a name that is no UTF-8
			m = prometheus.NewInvalidMetric(c.descs[p.Figure], err)
		}
		to <- m
	}
}
