package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/systemd"
	"github.com/skerryhq/skerry/cmd/skerry/watch"
	"github.com/skerryhq/skerry/config"
	"github.com/skerryhq/skerry/door"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/node"
)

// agentFlags are the flags of the agent command that stand for a key.
var agentFlags = []struct{ flag, key, kind, help string }{
	{"server", "server", "bool", "make this agent a server"},
	{"bootstrap", "bootstrap", "bool", "let this server start a cluster alone"},
	{"bootstrap-expect", "bootstrap_expect", "int", "`number` of servers that form the cluster"},
	{"node", "node_name", "string", "`name` of this node; default the host's"},
	{"node-id", "node_id", "string", "`UUID` of this node; default one that is made once and kept"},
	{"node-meta", "node_meta", "map", "`key:value` of this node's metadata; repeatable"},
	{"datacenter", "datacenter", "string", "`name` of the datacenter; default dc1"},
	{"data-dir", "data_dir", "string", "`folder` for state that outlives a restart"},
	{"watch-dir", "watch_dir", "string", "`folder` whose service files are registered while they are there"},
	{"bind", "bind_addr", "string", "`address` for traffic between agents"},
	{"client", "client_addr", "string", "`addresses` where HTTP and DNS listen; default 127.0.0.1"},
	{"advertise", "advertise_addr", "string", "`address` that others are told"},
	{"domain", "domain", "string", "DNS `zone` that is answered; default consul."},
	{"alt-domain", "alt_domain", "string", "a second `name` of the zone"},
	{"dns-port", "ports.dns", "int", "`port` of DNS; default 8600, -1 turns it off"},
	{"http-port", "ports.http", "int", "`port` of the HTTP API; default 8500"},
	{"https-port", "ports.https", "int", "`port` of the HTTP API with TLS; default off"},
	{"server-port", "ports.server", "int", "`port` where servers join each other, and agents attach; default 8300"},
	{"voting", "voting", "bool", "whether this server may get a vote; -voting=false makes it a read server"},
	{"join-token-file", "join_token_file", "string", "`file` with the token by which this process joins; its connections with other processes are encrypted"},
	{"insecure-cluster", "insecure_cluster", "bool", "let servers and agents speak to each other without encryption beyond loopback addresses"},
	{"serf-lan-port", "ports.serf_lan", "int", "accepted for Consul's sake"},
	{"serf-wan-port", "ports.serf_wan", "int", "accepted for Consul's sake"},
	{"grpc-port", "ports.grpc", "int", "accepted for Consul's sake"},
	{"recursor", "recursors", "list", "`address` of a DNS server for foreign names; repeatable"},
	{"log-level", "log_level", "string", "least `level` that is logged: debug, info, warn, error"},
	{"log-json", "log_json", "bool", "log lines of JSON"},
	{"log-file", "log_file", "string", "`file` to log to as well"},
	{"enable-script-checks", "enable_script_checks", "bool", "allow checks that run programs, also from the API"},
	{"enable-local-script-checks", "enable_local_script_checks", "bool", "allow them in configuration files only"},
	{"legacy-api", "legacy_api", "bool", "allow forms that Consul has removed"},
	{"default-query-time", "default_query_time", "string", "how long a blocking query waits that names no `time`; default 300s"},
	{"max-query-time", "max_query_time", "string", "the longest `time` that a blocking query waits; default 600s"},
	{"pid-file", "pid_file", "string", "`file` for the process id"},
	{"retry-join", "retry_join", "list", "`address` of a server to join, also of one that starts later; repeatable"},
	{"advertise-wan", "advertise_addr_wan", "string", "`address` that other datacenters are told"},
	{"allow-write-http-from", "http_config.allow_write_http_from", "list", "`CIDR` from where the API may be written to; repeatable; default everywhere"},
	{"check_output_max_size", "check_output_max_size", "string", "the most `bytes` of output that are kept of a check"},
	{"log-rotate-bytes", "log_rotate_bytes", "string", "the most `bytes` of one log file"},
	{"log-rotate-duration", "log_rotate_duration", "string", "the longest `time` that one log file is written to; default 24h"},
	{"log-rotate-max-files", "log_rotate_max_files", "string", "`number` of old log files that are kept"},
	{"syslog", "enable_syslog", "bool", "log to syslog as well"},
	{"join", "retry_join", "list", "the same as -retry-join"},
	{"join-wan", "retry_join_wan", "list", "`address` of a server in another datacenter; repeatable"},
	{"retry-join-wan", "retry_join_wan", "list", "`address` of a server in another datacenter; repeatable"},
	{"retry-interval", "retry_interval", "string", "`time` between tries to join after the first minute"},
	{"retry-interval-wan", "retry_interval_wan", "string", "`time` between tries to join other datacenters"},
	{"retry-max", "retry_max", "string", "`number` of tries to join"},
	{"retry-max-wan", "retry_max_wan", "string", "`number` of tries to join other datacenters"},
	{"rejoin", "rejoin_after_leave", "bool", "accepted for Consul's sake"},
	{"grpc-tls-port", "ports.grpc_tls", "string", "accepted for Consul's sake"},
	{"auto-reload-config", "auto_reload_config", "bool", "accepted for Consul's sake: SIGHUP reads the files again"},
	{"disable-host-node-id", "disable_host_node_id", "bool", "accepted for Consul's sake: the node's ID never comes from the host"},
	{"disable-keyring-file", "disable_keyring_file", "bool", "accepted for Consul's sake"},
	{"non-voting-server", "non_voting_server", "bool", "accepted for Consul's sake"},
	{"read-replica", "read_replica", "bool", "accepted for Consul's sake"},
	{"primary-gateway", "primary_gateways", "list", "accepted for Consul's sake"},
	{"protocol", "protocol", "string", "accepted for Consul's sake"},
	{"raft-protocol", "raft_protocol", "string", "accepted for Consul's sake"},
	{"segment", "segment", "string", "accepted for Consul's sake"},
	{"serf-lan-bind", "serf_lan", "string", "accepted for Consul's sake"},
	{"serf-wan-bind", "serf_wan", "string", "accepted for Consul's sake"},
	{"serf-lan-allowed-cidrs", "serf_lan_allowed_cidrs", "list", "accepted for Consul's sake"},
	{"serf-wan-allowed-cidrs", "serf_wan_allowed_cidrs", "list", "accepted for Consul's sake"},
	{"ui-content-path", "ui_config.content_path", "string", "accepted for Consul's sake"},
	{"ui-dir", "ui_dir", "string", "accepted for Consul's sake"},
	{"encrypt", "encrypt", "string", "accepted for Consul's sake"},
	{"ui", "ui_config.enabled", "bool", "accepted for Consul's sake"},
}

// agentOptions are the parsed flags.
type agentOptions struct {
	source config.Source
}

func newAgentCommand() *cobra.Command {
	var o agentOptions
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run a server or a node agent",
		Long: `Run a server or a node agent, until it is told to leave.

With -dev everything runs in one process and nothing is kept. Otherwise give
-data-dir, or a configuration file that does. Configuration files are Consul's,
in HCL or JSON. Keys without a flag are given as a fragment:

  -hcl 'acl { enabled = true preset = "strict" audit { path = "audit.json" } }'
  -hcl 'quorum { endpoints = ["https://etcd-1:2379"] }'
  -hcl 'session_ttl_min = "5s" limits { kv_max_value_size = 1048576 }'

config/README.md has all keys with their defaults.`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.source.Files, "config-file", nil, "configuration `file`, HCL or JSON; repeatable")
	f.StringArrayVar(&o.source.Dirs, "config-dir", nil, "`folder` of configuration files; repeatable")
	f.StringArrayVar(&o.source.HCL, "hcl", nil, "a `fragment` of HCL configuration; repeatable")
	f.BoolVar(&o.source.Dev, "dev", false, "everything in one process, nothing kept")
	for _, a := range agentFlags {
		switch a.kind {
		case "bool":
			f.Bool(a.flag, false, a.help)
		case "list", "map":
			f.StringArray(a.flag, nil, a.help)
		default:
			f.String(a.flag, "", a.help)
		}
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.source.Flags = map[string]any{}
		for _, a := range agentFlags {
			if err := takeFlag(cmd, a.flag, a.key, a.kind, o.source.Flags); err != nil {
				return err
			}
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return runAgent(ctx, o.source, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

func takeFlag(cmd *cobra.Command, flag, key, kind string, into map[string]any) error {
	f := cmd.Flags()
	if !f.Changed(flag) {
		return nil
	}
	switch kind {
	case "bool":
		v, err := f.GetBool(flag)
		into[key] = v
		return err
	case "list":
		v, err := f.GetStringArray(flag)
		before, _ := into[key].([]string) // -join and -retry-join are one
		into[key] = append(before, v...)
		return err
	case "map":
		pairs, err := f.GetStringArray(flag)
		m := map[string]string{}
		for _, pair := range pairs {
			k, v, _ := strings.Cut(pair, ":")
			m[k] = v
		}
		into[key] = m
		return err
	}
	v, err := f.GetString(flag)
	into[key] = v
	return err
}

// runAgent runs a process until ctx ends, a signal asks for a reload or an end, or
// the API asks it to leave.
func runAgent(ctx context.Context, src config.Source, stdout, stderr io.Writer) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	c, warnings, err := load(src)
	if err != nil {
		return err
	}
	logs, err := openLog(c, stderr)
	if err != nil {
		return err
	}
	defer logs.Close()
	log := slog.New(logs.stream.Handler())
	warn(log, warnings)
	for _, e := range c.Exposures() {
		log.Warn("exposed: "+e.Message, "exposure", e.Name)
	}
	cfg, err := nodeConfig(c, logs.stream, log)
	if err != nil {
		return err
	}
	var watches *watch.Set // set before anybody can ask for a reload
	reload := func() (node.Config, error) {
		next, warnings, err := load(src)
		if err != nil {
			return node.Config{}, err
		}
		definitions, err := watch.Parse(next.Watches)
		if err != nil {
			return node.Config{}, err
		}
		warn(log, warnings)
		if next.NodeID == "" {
			next.NodeID = c.NodeID // it was made, or read from the data folder, at the start
		}
		if keys := c.Restart(next); len(keys) > 0 {
			log.Warn("these keys changed and take effect at the next start", "keys", keys)
		}
		logs.setLevel(next.LogLevel)
		cfg, err := nodeConfig(next, logs.stream, log)
		cfg.Applied = func() { watches.Replace(definitions) }
		return cfg, err
	}
	definitions, err := watch.Parse(c.Watches)
	if err != nil {
		return err
	}
	s, err := node.New(ctx, cfg, reload, leave)
	if err != nil {
		return err
	}
	if err := s.Listen(); err != nil {
		s.Close()
		return err
	}
	if c.PidFile != "" {
		if err := files.WriteOver(c.PidFile, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
			s.Close()
			return fmt.Errorf("pid_file: %w", err)
		}
		defer os.Remove(c.PidFile)
	}
	banner(stdout, c, s.Addrs())
	manager := systemd.Connect(log)
	go manager.Starting(ctx, s.Ready)
	watches = watch.NewSet(ownAddress(s.Addrs().HTTP), log)
	defer watches.Close()
	watches.Replace(definitions)
	go reloadOnHangup(ctx, s, manager, log)
	// The watches first: to them the end of the server would be a failure.
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	context.AfterFunc(ctx, func() {
		manager.Stopping()
		watches.Stop()
		end()
	})
	return s.Run(serving)
}

func warn(log *slog.Logger, warnings []config.Warning) {
	for _, w := range warnings {
		log.Warn("configuration: " + w.String())
	}
}

// ownAddress returns where this process reaches its own HTTP API.
func ownAddress(listening []string) string {
	if len(listening) == 0 {
		return ""
	}
	host, port, err := net.SplitHostPort(listening[0])
	if ip := net.ParseIP(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.To4() == nil {
			host = "::1"
		}
		return net.JoinHostPort(host, port)
	}
	return listening[0]
}

// load reads and judges the configuration.
func load(src config.Source) (*config.Config, []config.Warning, error) {
	c, warnings, err := config.Load(src)
	if err != nil {
		return nil, nil, err
	}
	return c, warnings, c.Validate()
}

func reloadOnHangup(ctx context.Context, s *node.Node, manager *systemd.Manager, log *slog.Logger) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			if err := manager.Reload(s.Reload); err != nil {
				log.Error("reload failed", "error", err)
			}
		}
	}
}

// banner describes for a person what runs and where it listens.
func banner(w io.Writer, c *config.Config, a door.Addrs) {
	kept := "data in " + c.DataDir
	if c.DataDir == "" {
		kept = "nothing is kept"
	}
	fmt.Fprintf(w, "Skerry %s: node %s in datacenter %s, %s\n", versionString(), c.NodeName, c.Datacenter, kept)
	for _, l := range []struct {
		name  string
		addrs []string
	}{{"HTTP", a.HTTP}, {"HTTPS", a.HTTPS}, {"DNS", a.DNS}} {
		for _, addr := range l.addrs {
			fmt.Fprintf(w, "  %-6s %s\n", l.name, addr)
		}
	}
}
