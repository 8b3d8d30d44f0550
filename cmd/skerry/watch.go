package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	consulwatch "github.com/hashicorp/consul/api/watch"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/show"
	"github.com/skerryhq/skerry/cmd/skerry/singledash"
	"github.com/skerryhq/skerry/cmd/skerry/watch"
	"github.com/skerryhq/skerry/tool/child"
)

// watchOptions are the query and the handler of a watch.
type watchOptions struct {
	kind, service, state, key, prefix, name, filter string
	tags                                            []string
	passing, shell                                  bool
	httpHandler                                     string
}

func newWatchCommand() *cobra.Command {
	var o watchOptions
	cmd := &cobra.Command{
		Use:   "watch -type TYPE [flags] [HANDLER [ARGUMENT...]]",
		Short: "Run a program, or call a URL, at every change",
		Long: `Run a program at every change of the watched state, with the state as JSON on its
standard input; or, with -http-handler, post it to a URL. Without either,
print the state once.

Types: services, service, nodes, checks, event, key, keyprefix.`,
		Example: `  skerry watch -type service -service web ./reload.sh
  skerry watch -type checks -state critical -http-handler http://127.0.0.1:9000/alert`,
	}
	f := cmd.Flags()
	f.StringVar(&o.kind, "type", "", "`type` of the watch")
	f.StringVar(&o.service, "service", "", "`service` to watch (service, checks)")
	f.StringArrayVar(&o.tags, "tag", nil, "only instances with this `tag`; repeatable (service)")
	f.BoolVar(&o.passing, "passingonly", false, "only instances whose checks all pass (service)")
	f.StringVar(&o.state, "state", "", "only checks in this `state` (checks)")
	f.StringVar(&o.key, "key", "", "`key` to watch (key)")
	f.StringVar(&o.prefix, "prefix", "", "`prefix` of the keys to watch (keyprefix)")
	f.StringVar(&o.name, "name", "", "`name` of the event (event)")
	f.StringVar(&o.filter, "filter", "", "only what the `expression` is true for (services, service, nodes, checks)")
	f.BoolVar(&o.shell, "shell", true, "let the shell run a handler of one word")
	f.StringVar(&o.httpHandler, "http-handler", "", "`URL` that changes are posted to")
	singledash.StopAtArgument(cmd)
	return client(cmd, func(ctx context.Context, c *connection, args []string, out io.Writer) error {
		return runWatch(ctx, c, o, args, out, cmd.ErrOrStderr())
	})
}

// parameters translates flags into the library's words.
func (o *watchOptions) parameters(c *connection) map[string]any {
	p := map[string]any{"type": o.kind}
	for key, v := range map[string]string{
		"service": o.service, "state": o.state, "key": o.key, "prefix": o.prefix, "name": o.name, "filter": o.filter,
		"datacenter": c.Query.Datacenter,
	} {
		if v != "" {
			p[key] = v
		}
	}
	if len(o.tags) > 0 {
		p["tag"] = o.tags
	}
	if o.passing {
		p["passingonly"] = true
	}
	if c.Query.AllowStale {
		p["stale"] = true
	}
	return p
}

func runWatch(ctx context.Context, c *connection, o watchOptions, handler []string, out, errs io.Writer) error {
	if o.kind == "" {
		return usageError("-type is needed: services, service, nodes, checks, event, key or keyprefix")
	}
	if o.httpHandler != "" && len(handler) > 0 {
		return usageError("-http-handler and a program exclude each other")
	}
	plan, err := consulwatch.Parse(o.parameters(c))
	if err != nil {
		return usageError(err.Error())
	}
	// The plan retries for ever, but a wrong address is an error at once.
	if _, err := c.Agent().NodeName(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var tell watch.Handler
	switch {
	case o.httpHandler != "":
		tell = watch.URL(consulwatch.HttpHandlerConfig{Path: o.httpHandler})
	case len(handler) > 0:
		if o.shell && len(handler) == 1 {
			handler = child.Shell(handler[0])
		}
		tell = watch.Program(handler, out, errs)
	}
	var failed error
	changed := func(index string, data any) {
		if tell == nil {
			failed = show.JSON(out, data)
			plan.Stop()
			return
		}
		if err := tell(ctx, index, data); err != nil && ctx.Err() == nil {
			fmt.Fprintln(errs, "handler:", err)
		}
	}
	troubled := func(err error) {
		if err != nil {
			fmt.Fprintln(errs, "watch: tried again until the agent answers:", err)
		}
	}
	return errors.Join(watch.Run(ctx, c.Client, plan, changed, troubled), failed)
}
