package consul

import (
	"log/slog"
	"time"
)

// SpokenVersion is the version of Consul whose API this package implements. Clients
// read it to find out the features.
const SpokenVersion = "1.22.0"

// Config configures a [Tongue]. Zero durations and sizes mean their defaults.
type Config struct {
	Primary      string // the datacenter that decides on policies and tokens; default the own one
	BindAddr     string
	JoinPorts    []string // ports at which this server counts as a member when it is asked to join itself
	Dev          bool     // indents JSON always
	Version      string   // of Skerry
	BuildDate    string
	Revision     string
	LegacyAPI    bool // old forms: GET on check/pass/ID and service/deregister/ID, Check.Script
	DefaultWait  time.Duration
	MaxWait      time.Duration
	ParkAfter    time.Duration     // how long a request waits in its handler before it is parked; default 250 ms
	MaxBody      int64             // bytes of a request's body; default 4 MiB
	MaxValue     int64             // bytes of a key's value; default 512 KiB
	MaxTxn       int64             // bytes of a transaction's body; default MaxValue
	Headers      map[string]string // set on every answer
	Blocked      []string          // path prefixes that answer 403
	WriteFrom    []string          // networks (CIDR) that may write; empty: all
	MetricsOn    bool              // Prometheus form on /v1/agent/metrics
	MetricPrefix string            // of the runtime's gauges in agent/metrics: "consul" or "consul.HOST"
	NoCache      bool              // ignore ?cached
	KeyList      bool              // listing keys needs the permission "list"
	// StaleDiscovery reads catalog and health as with ?stale, except with ?consistent.
	StaleDiscovery bool
	Log            *slog.Logger
}

// WithDefaults returns c with the defaults filled in.
func (c Config) WithDefaults() Config {
	if c.DefaultWait == 0 {
		c.DefaultWait = 5 * time.Minute
	}
	if c.MaxWait == 0 {
		c.MaxWait = 10 * time.Minute
	}
	if c.ParkAfter == 0 {
		c.ParkAfter = 250 * time.Millisecond
	}
	if c.MaxBody == 0 {
		c.MaxBody = 4 << 20
	}
	if c.MaxValue == 0 {
		c.MaxValue = 512 << 10
	}
	if c.MaxTxn == 0 {
		c.MaxTxn = c.MaxValue
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
