package config

import (
	"os"
	"strings"
	"time"
)

// Default returns the configuration without any source.
func Default() *Config {
	return &Config{
		Datacenter:          "dc1",
		BindAddr:            "0.0.0.0",
		ClientAddr:          "127.0.0.1",
		Domain:              "consul.",
		LogLevel:            "INFO",
		LogRotateDuration:   24 * time.Hour,
		SyslogFacility:      "LOCAL0",
		DefaultQueryTime:    300 * time.Second,
		MaxQueryTime:        600 * time.Second,
		SessionTTLMin:       10 * time.Second,
		ReconnectTimeout:    72 * time.Hour,
		RetryInterval:       30 * time.Second,
		RetryIntervalWAN:    30 * time.Second,
		CheckOutputMaxSize:  4096,
		CheckUpdateInterval: 250 * time.Millisecond,
		CanaryInterval:      5 * time.Second,
		DisableRemoteExec:   true,
		Ports: Ports{
			DNS: 8600, HTTP: 8500, HTTPS: -1, GRPC: -1, GRPCTLS: -1,
			SerfLAN: 8301, SerfWAN: 8302, Server: 8300, Quorum: 8301, Bus: 8302,
		},
		DNS: DNS{
			AllowStale:                  true,
			MaxStale:                    87600 * time.Hour,
			EnableAdditionalNodeMetaTXT: true,
			UDPAnswerLimit:              3,
			RecursorStrategy:            "sequential",
			RecursorTimeout:             2 * time.Second,
			SOA:                         SOA{Refresh: 3600, Retry: 600, Expire: 86400},
			UDPMax:                      1232,
			RateLimit:                   DNSRateLimit{ResponsesPerSecond: 500, Slip: 1},
		},
		HTTP: HTTP{UseCache: true},
		Limits: Limits{
			HTTPMaxConnsPerClient: 200,
			HTTPSHandshakeTimeout: 5 * time.Second,
			RPCRate:               -1,
			RPCMaxBurst:           1000,
			RPCMaxConnsPerClient:  100,
			RPCHandshakeTimeout:   5 * time.Second,
			RPCClientTimeout:      60 * time.Second,
			KVMaxValueSize:        512 << 10,
			TxnMaxReqLen:          512 << 10,
			RequestLimits:         RequestLimits{Mode: "disabled", ReadRate: -1, WriteRate: -1},
		},
		UI:        UI{ContentPath: "/ui/"},
		Telemetry: Telemetry{MetricsPrefix: "consul", FilterDefault: true},
		TLS:       TLS{Defaults: TLSListener{TLSMinVersion: "TLSv1_2"}, NodeTTL: 72 * time.Hour},
		ACL: ACL{
			DefaultPolicy: "allow", DownPolicy: "extend-cache",
			TokenTTL: 30 * time.Second, PolicyTTL: 30 * time.Second,
		},
		Voting: true,
		Autopilot: Autopilot{
			CleanupDeadServers: true, LastContactThreshold: 200 * time.Millisecond,
			MaxTrailingLogs: 250, ServerStabilizationTime: 10 * time.Second,
		},
		Performance: Performance{LeaveDrainTime: 5 * time.Second},
		Guard:       Guard{Share: 0.5, Least: 3, Window: 30 * time.Second, Hold: 10 * time.Minute},
		Lease:       Lease{MinTTL: time.Second, MaxTTL: 24 * time.Hour, MaxOwners: 100_000, MaxInstances: 1000},
		set:         map[string]bool{},
	}
}

// dev changes the defaults to those of dev mode.
func (c *Config) dev() {
	c.Dev = true
	c.Server = true
	c.BindAddr = "127.0.0.1"
	c.LogLevel = "DEBUG"
	c.UI.Enabled = true
	c.EnableDebug = true
	c.Ports.GRPC = 8502
	c.TLS.Defaults.TLSMinVersion = "TLSv1_2"
}

// derive fills in what follows from other keys.
func (c *Config) derive() {
	if c.NodeName == "" {
		// Without a host name Validate asks for node_name.
		c.NodeName, _ = os.Hostname()
	}
	c.Datacenter = strings.ToLower(c.Datacenter)
	c.PrimaryDatacenter = strings.ToLower(c.PrimaryDatacenter)
	if c.PrimaryDatacenter == "" {
		c.PrimaryDatacenter = c.Datacenter
	}
	c.Domain = fqdn(c.Domain)
	if c.AltDomain != "" {
		c.AltDomain = fqdn(c.AltDomain)
	}
	if !c.IsSet("leave_on_terminate") {
		c.LeaveOnTerminate = !c.Server
	}
	if !c.IsSet("skip_leave_on_interrupt") {
		c.SkipLeaveOnInterrupt = c.Server
	}
	if !c.IsSet("ports.grpc_tls") && c.Server {
		c.Ports.GRPCTLS = 8503
	}
	if !c.IsSet("ports.quorum") {
		c.Ports.Quorum = c.Ports.SerfLAN
	}
	if !c.IsSet("ports.bus") {
		c.Ports.Bus = c.Ports.SerfWAN
	}
	if c.EnableScriptChecks {
		c.EnableLocalScriptChecks = true
	}
	c.UI.ContentPath = "/" + strings.Trim(c.UI.ContentPath, "/") + "/"
	if c.UI.ContentPath == "//" {
		c.UI.ContentPath = "/"
	}
	c.inheritTLS()
}

func fqdn(name string) string {
	return strings.TrimSuffix(name, ".") + "."
}

// inheritTLS gives each listener the keys that only the defaults have.
func (c *Config) inheritTLS() {
	for name, l := range map[string]*TLSListener{
		"https": &c.TLS.HTTPS, "grpc": &c.TLS.GRPC, "internal_rpc": &c.TLS.InternalRPC,
	} {
		own := *l
		*l = c.TLS.Defaults
		overlay(l, &own, func(key string) bool { return c.IsSet("tls." + name + "." + key) })
	}
}
