package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/tool/bench"
)

func newBenchCommand() *cobra.Command {
	var o bench.Options
	var format string
	cmd := &cobra.Command{
		Use:   "bench KIND",
		Short: "Put load on a registry and measure it",
		Long: `Put load on any address that speaks Consul's HTTP API and DNS.

KIND is one of
  register  register distinct services, each with a TTL check
  health    ask for the passing instances of a service
  beat      refresh TTL checks
  watch     block on a service with -concurrency watchers and change it; the
            latency is from the start of the write to each watcher's answer
  dns       ask for A and then SRV records over UDP
  kv-put    write keys of 200 bytes, each time another
  kv-get    read keys, in the default consistency
  kv-watch  block on a prefix with -concurrency watchers and change one key
  external  register services through the catalog, 100 on a node

It registers what it reads and leaves it registered: use it on a registry of your own.`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: []string{"register", "health", "beat", "watch", "dns", "kv-put", "kv-get", "kv-watch", "external"},
	}
	f := cmd.Flags()
	f.StringVar(&o.HTTP, "http-addr", "127.0.0.1:8500", "`address` of the HTTP API")
	f.StringVar(&o.DNS, "dns-addr", "127.0.0.1:8600", "`address` of DNS")
	f.StringVar(&o.Token, "token", "", "`token` to send")
	f.IntVar(&o.Concurrency, "concurrency", 32, "callers or watchers at once")
	f.IntVar(&o.Requests, "requests", 0, "requests in all (watch: changes); 0 means as many as fit in -duration")
	f.DurationVar(&o.Duration, "duration", 0, "`time` that the load lasts; default 5s")
	f.IntVar(&o.PID, "pid", 0, "`process` whose CPU time is counted")
	f.StringVar(&o.Service, "service", "bench", "`name` of the service that is read, or prefix of those registered")
	f.IntVar(&o.Instances, "instances", 10, "instances of the service that is read")
	f.StringVar(&format, "format", "table", "table or json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		results, err := runBench(cmd.Context(), args[0], o)
		if err != nil {
			return err
		}
		if format == "json" {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(results)
		}
		for _, r := range results {
			fmt.Fprintln(cmd.OutOrStdout(), r)
		}
		return nil
	}
	return cmd
}

// loads are the kinds of load that give one result.
var loads = map[string]func(context.Context, bench.Options) (bench.Result, error){
	"register": bench.Register, "health": bench.Health, "beat": bench.Beat, "watch": bench.Watch,
	"kv-put": bench.KeyPut, "kv-get": bench.KeyGet, "kv-watch": bench.KeyWatch, "external": bench.External,
}

func runBench(ctx context.Context, kind string, o bench.Options) ([]bench.Result, error) {
	if load := loads[kind]; load != nil {
		r, err := load(ctx, o)
		return []bench.Result{r}, err
	}
	if kind == "dns" {
		a, err := bench.DNS(ctx, o, dns.TypeA)
		if err != nil {
			return nil, err
		}
		srv, err := bench.DNS(ctx, o, dns.TypeSRV)
		return []bench.Result{a, srv}, err
	}
	return nil, fmt.Errorf("no load %q: want register, health, beat, watch, dns, kv-put, kv-get, kv-watch or external", kind)
}
