package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cmd/skerry/sidecar"
	"github.com/skerryhq/skerry/cmd/skerry/singledash"
	"github.com/skerryhq/skerry/tool/child"
)

// runOptions are the service that a program offers.
type runOptions struct {
	service                     serviceFlags
	checkHTTP                   string
	checkTCP                    bool
	checkTTL, interval, timeout time.Duration
	deregisterAfter             time.Duration
	drain, linger               time.Duration // linger: where the agent counts no readers
}

func newRunCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run -name NAME [flags] -- PROGRAM [ARGUMENT...]",
		Short: "Run a program and keep it registered while it serves",
		Long: `Run a program and keep it registered while it serves. It is registered once its
port listens, and again when the agent has lost it. A signal to stop lets it drain
first: the program gets the signal when all readers of the service have the list
without it, after -drain at the latest; a second signal comes at once. When the
program ends, the service is withdrawn at once, and its exit code is returned.`,
		Example: `  skerry run -name web -port 8080 -check-http /health -drain 30s -- ./server
  skerry run -name worker -check-ttl 15s -- ./worker --queue mail`,
		Args: cobra.MinimumNArgs(1),
	}
	o.service.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.checkHTTP, "check-http", "", "check this `path` or URL by HTTP")
	f.BoolVar(&o.checkTCP, "check-tcp", false, "check that the port takes connections")
	f.DurationVar(&o.checkTTL, "check-ttl", 0, "make the service critical when this command is not heard of for this `time`")
	f.DurationVar(&o.interval, "check-interval", 10*time.Second, "`time` between checks")
	f.DurationVar(&o.timeout, "check-timeout", 0, "longest `time` of one check; default 10s")
	f.DurationVar(&o.deregisterAfter, "deregister-after", 0, "withdraw the service when a check is critical for this `time`; default never")
	f.DurationVar(&o.drain, "drain", 5*time.Second, "longest `time` to wait for readers before the signal to stop; where Consul counts none: the whole time, if given")
	singledash.StopAtArgument(cmd)
	return client(cmd, func(ctx context.Context, c *connection, args []string, out io.Writer) error {
		if cmd.Flags().Changed("drain") {
			o.linger = o.drain
		}
		return runProgram(ctx, c, o, args, cmd.InOrStdin(), out, cmd.ErrOrStderr())
	})
}

func runProgram(ctx context.Context, c *connection, o runOptions, program []string, stdin io.Reader, stdout, stderr io.Writer) error {
	r, err := o.registration()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, child.PassedOn...)
	defer signal.Stop(signals)
	log := slog.New(slog.NewTextHandler(stderr, nil)).With("service", r.Instance.ID)
	so := sidecar.Options{
		Command: program, Stdin: stdin, Stdout: stdout, Stderr: stderr, Listens: o.listens(),
		Registrar: &runRegistrar{c: c, registration: r, ttl: o.checkTTL > 0, log: log}, Drain: o.drain, Linger: o.linger, Signals: signals,
		Log: log,
	}
	if o.checkTTL > 0 {
		so.Every = min(2*time.Second, o.checkTTL/3)
	}
	code, err := sidecar.Run(ctx, so)
	if err == nil && code != 0 {
		err = exitCode(code)
	}
	return err
}

// listens are where the program may be found once it serves.
func (o *runOptions) listens() []string {
	if o.service.port == 0 {
		return nil
	}
	port := strconv.Itoa(o.service.port)
	out := []string{net.JoinHostPort("localhost", port)}
	if o.service.address != "" {
		out = append(out, net.JoinHostPort(o.service.address, port))
	}
	return out
}

func (o *runOptions) registration() (skerry.Registration, error) {
	if o.service.name == "" {
		return skerry.Registration{}, usageError("-name is needed: the name of the service")
	}
	if o.drain < 0 || o.checkTTL < 0 || o.interval <= 0 || o.timeout < 0 || o.deregisterAfter < 0 {
		return skerry.Registration{}, usageError("times must not be negative, and -check-interval not 0")
	}
	i, err := o.service.instance()
	if err != nil {
		return skerry.Registration{}, err
	}
	host := first(i.Address, "127.0.0.1")
	var checks []skerry.CheckDefinition
	if (o.checkTCP || strings.HasPrefix(o.checkHTTP, "/")) && i.Port == 0 {
		return skerry.Registration{}, usageError("-check-tcp and -check-http with a path need -port")
	}
	if o.checkHTTP != "" {
		url := o.checkHTTP
		if strings.HasPrefix(url, "/") {
			url = "http://" + net.JoinHostPort(host, strconv.Itoa(i.Port)) + url
		}
		checks = append(checks, skerry.CheckDefinition{HTTP: url, Interval: o.interval, Timeout: o.timeout})
	}
	if o.checkTCP {
		checks = append(checks, skerry.CheckDefinition{
			TCP: net.JoinHostPort(host, strconv.Itoa(i.Port)), Interval: o.interval, Timeout: o.timeout,
		})
	}
	if o.checkTTL > 0 {
		checks = append(checks, skerry.CheckDefinition{ID: ttlCheckID(i.ID), TTL: o.checkTTL})
	}
	for n := range checks {
		checks[n].DeregisterCriticalServiceAfter = o.deregisterAfter
	}
	return skerry.Registration{Instance: i, Checks: checks, ReplaceChecks: true}, nil
}

func ttlCheckID(service string) string { return "run:" + service }

// runRegistrar keeps one service at the agent.
type runRegistrar struct {
	c            *connection
	registration skerry.Registration
	ttl          bool // the check of ttlCheckID is ours to refresh
	log          *slog.Logger
}

func (r *runRegistrar) Register(ctx context.Context) error {
	return r.c.Explained(registerService(ctx, r.c, r.registration))
}

func (r *runRegistrar) Withdraw(ctx context.Context, drain time.Duration) (bool, error) {
	count, err := deregister(ctx, r.c, r.registration.Instance.ID, drain)
	if missing(err) {
		return false, nil
	}
	if count != nil {
		r.log.Info("service drained", "safe", count.Safe, "acked", count.Acked, "pending", count.Pending, "gone", count.Gone, "waiting", count.Waiting)
	}
	return count != nil, r.c.Explained(err)
}

func (r *runRegistrar) Confirm(ctx context.Context) (bool, error) {
	id := r.registration.Instance.ID
	var err error
	if r.ttl {
		err = r.c.Agent().UpdateTTLOpts(ttlCheckID(id), "", api.HealthPassing, r.c.Options(ctx))
	} else {
		_, _, err = r.c.Agent().Service(id, r.c.Options(ctx))
	}
	if missing(err) {
		return false, nil
	}
	return err == nil, r.c.Explained(err)
}

// missing reports whether the agent does not know the named object.
func missing(err error) bool {
	var status api.StatusError
	return errors.As(err, &status) && status.Code == http.StatusNotFound
}
