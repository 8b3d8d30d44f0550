package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api/watch"
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/show"
	"github.com/skerryhq/skerry/cmd/skerry/singledash"
)

// watchOptions are what is watched and who is told.
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
		Long: `Run a program at every change of what is watched, with the new state as JSON on
its standard input; or, with -http-handler, post it to a URL. Without either,
print the state once.

Types: services, service, nodes, checks, event, key, keyprefix.`,
		Example: `  skerry watch -type service -service web ./reload.sh
  skerry watch -type checks -state critical -http-handler http://127.0.0.1:9000/alert`,
	}
	f := cmd.Flags()
	f.StringVar(&o.kind, "type", "", "`type` of what is watched")
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
		"datacenter": c.query.Datacenter,
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
	if c.query.AllowStale {
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
	plan, err := watch.Parse(o.parameters(c))
	if err != nil {
		return usageError(err.Error())
	}
	// The plan retries for ever; who calls with a wrong address wants to know at once.
	if _, err := c.Agent().NodeName(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var failed error
	plan.HybridHandler = func(value watch.BlockingParamVal, data any) {
		index := ""
		if i, ok := value.(watch.WaitIndexVal); ok {
			index = strconv.FormatUint(uint64(i), 10)
		}
		switch {
		case o.httpHandler != "":
			err = post(ctx, o.httpHandler, index, data)
		case len(handler) > 0:
			err = pipe(ctx, handler, o.shell, index, data, out, errs)
		default:
			failed = show.JSON(out, data)
			plan.Stop()
			return
		}
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(errs, "handler:", err)
		}
	}
	unhook := context.AfterFunc(ctx, plan.Stop)
	defer unhook()
	logger := hclog.New(&hclog.LoggerOptions{Name: "watch", Output: errs, Level: hclog.Warn})
	return errors.Join(plan.RunWithClientAndHclog(c.Client, logger), failed)
}

// handlerTimeout is the longest that an HTTP handler may take.
const handlerTimeout = 10 * time.Second

func post(ctx context.Context, to, index string, data any) error {
	body, err := json.Marshal(data)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, handlerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Consul-Index", index)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s", to, resp.Status)
	}
	return nil
}

func pipe(ctx context.Context, handler []string, shell bool, index string, data any, out, errs io.Writer) error {
	body, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if shell && len(handler) == 1 {
		handler = []string{"/bin/sh", "-c", handler[0]}
	}
	cmd := exec.CommandContext(ctx, handler[0], handler[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = handlerTimeout
	cmd.Stdin = bytes.NewReader(append(body, '\n'))
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.Env = append(os.Environ(), "SKERRY_INDEX="+index, "CONSUL_INDEX="+index)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(handler, " "), err)
	}
	return nil
}
