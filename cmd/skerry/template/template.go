// Package template is the command template: it keeps files up to date with the registry.
package template

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"time"

	dep "github.com/hashicorp/consul-template/dependency"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/tool/child"
	"github.com/skerryhq/skerry/tool/template"
)

type templateOptions struct {
	files              []string
	wait, reload, exec string
	killAfter          time.Duration
	template.Options
}

// anyAge is how far behind a server may be with -stale.
const anyAge = 10 * 365 * 24 * time.Hour

// New returns the command template.
func New() *cobra.Command {
	var o templateOptions
	cmd := &cobra.Command{
		Use:   "template -template SOURCE:DEST[:COMMAND] [flags]",
		Short: "Render files from the registry",
		Long: `Render files from the registry, in the language of consul-template, and again at
every change. COMMAND is run when its file has changed. A file is replaced by a
whole one, with the permissions and the owner that it had.

A list of instances that turns empty, or shorter than -min-instances, is not
rendered for -grace, unless the registry says that the owners withdrew them: the
last rendering stays. While the registry does not answer, it stays without end. With
-once such a list is an error. Consul does not report why a list is empty; there every
empty list is held.`,
		Example: `  skerry template -template haproxy.ctmpl:/etc/haproxy/haproxy.cfg:'systemctl reload haproxy' \
    -validate 'haproxy -c -f {}' -min-instances 2
  skerry template -template nginx.ctmpl:nginx.conf -once -dry`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.files, "template", nil, "`SOURCE:DEST[:COMMAND]`, a template, its file, and a command to run after a change; repeatable")
	f.BoolVar(&o.Once, "once", false, "end when all files are rendered")
	f.BoolVar(&o.Dry, "dry", false, "print the files, and run nothing")
	f.StringVar(&o.wait, "wait", "200ms:2s", "`MIN[:MAX]`: render when nothing has changed for MIN, or after MAX, 4 times MIN unless given")
	f.StringVar(&o.Validate, "validate", "", "`command` that judges a file before it takes its place; {} is its path, $SKERRY_TEMPLATE too")
	f.IntVar(&o.MinInstances, "min-instances", 0, "`number` of instances of a service below which a list is too short; default 1 where there was one")
	f.DurationVar(&o.Grace, "grace", 5*time.Minute, "`time` for which a list that is too short is not rendered; 0: it always is")
	f.BoolVar(&o.Backup, "backup", false, "keep the file before as FILE.bak")
	f.StringVar(&o.exec, "exec", "", "`command` to run from the first rendering on, again at a change; its exit code is returned; the shell runs a command with more than words")
	f.StringVar(&o.reload, "signal", "", "send the command of -exec this `signal` at a change, in place of running it again")
	f.DurationVar(&o.Splay, "splay", 0, "longest `time` of the random wait before that")
	f.DurationVar(&o.killAfter, "kill-timeout", child.KillAfter, "`time` that it has to end before it is killed")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		o.Stdout, o.Stderr = out, cmd.ErrOrStderr()
		o.Child = child.Spec{Stdin: cmd.InOrStdin(), Stdout: out, Stderr: o.Stderr, Rest: child.EndGroup, KillAfter: o.killAfter}
		return o.run(ctx, c)
	})
}

func (o *templateOptions) run(ctx context.Context, c *connect.Connection) (err error) {
	if err := o.understand(); err != nil {
		return err
	}
	if c.Query.Datacenter != "" {
		return connect.Usagef(`-datacenter: a template names its own, as in {{ service "web@dc2" }}`)
	}
	if c.Query.AllowStale {
		o.MaxStale = anyAge
	}
	// The library writes to the program's log, much and at all levels.
	log.SetOutput(io.Discard)
	o.Log = slog.New(slog.NewTextHandler(o.Stderr, nil))
	o.Cause = causeOf(c)
	if o.Registry, err = registryOf(c); err != nil {
		return err
	}
	defer o.Registry.Stop()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, child.PassedOn...)
	defer signal.Stop(signals)
	o.Signals = signals
	code, err := template.Run(ctx, o.Options)
	if err == nil && code != 0 {
		return connect.ExitCode(code)
	}
	return err
}

// understand checks the flags and reads those that have a form.
func (o *templateOptions) understand() (err error) {
	switch {
	case len(o.files) == 0:
		return connect.Usagef("-template is needed: SOURCE:DEST[:COMMAND]")
	case o.MinInstances < 0:
		return connect.Usagef("-min-instances: %d: want 0 or more", o.MinInstances)
	case o.Grace < 0:
		return connect.Usagef("-grace: %v: want a time that is not negative", o.Grace)
	case o.Splay < 0:
		return connect.Usagef("-splay: %v: want a time that is not negative", o.Splay)
	case o.killAfter <= 0:
		return connect.Usagef("-kill-timeout: %v: want more than 0", o.killAfter)
	case o.reload != "" && o.exec == "":
		return connect.Usagef("-signal needs -exec")
	}
	for _, s := range o.files {
		f, err := template.ParseFile(s)
		if err != nil {
			return connect.Usagef("-template: %v", err)
		}
		o.Files = append(o.Files, f)
	}
	if o.Options.Wait, err = template.ParseWait(o.wait); err != nil {
		return connect.Usagef("-wait: %v", err)
	}
	if o.reload != "" {
		if o.Reload, err = child.ParseSignal(o.reload); err != nil {
			return connect.Usagef("-signal: %v", err)
		}
	}
	if strings.TrimSpace(o.exec) != "" {
		o.Child.Command = child.Line(o.exec)
	}
	return nil
}

// causeOf asks the agent why it has no instance that a query selects. Where there are
// some it returns "": they are left out for their health, which is no withdrawal.
func causeOf(c *connect.Connection) template.Cause {
	return func(ctx context.Context, of template.Query) string {
		query := url.Values{}
		if of.Datacenter != "" {
			query.Set("dc", of.Datacenter)
		}
		if of.Tag != "" {
			query.Set("tag", of.Tag)
		}
		resp, err := c.Send(ctx, http.MethodGet, "/v1/health/service/"+url.PathEscape(of.Service), query, nil)
		if err != nil {
			return ""
		}
		defer resp.Body.Close()
		return resp.Header.Get("X-Skerry-Empty-Cause")
	}
}

// registryOf makes the library's own client for the same agent. It would complete it from
// CONSUL_ variables, also where a flag or a SKERRY_ one differs.
func registryOf(c *connect.Connection) (*dep.ClientSet, error) {
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "CONSUL_") {
			os.Unsetenv(name)
			defer os.Setenv(name, value)
		}
	}
	in := &dep.CreateConsulClientInput{
		Address: c.Address, Token: c.Config.Token,
		SSLEnabled: c.Config.Scheme == "https" || strings.HasPrefix(c.Address, "https://"), SSLVerify: !c.Config.TLSConfig.InsecureSkipVerify,
		SSLCert: c.Config.TLSConfig.CertFile, SSLKey: c.Config.TLSConfig.KeyFile,
		SSLCACert: c.Config.TLSConfig.CAFile, SSLCAPath: c.Config.TLSConfig.CAPath, ServerName: c.Config.TLSConfig.Address,
		TransportDialKeepAlive: 30 * time.Second, TransportDialTimeout: 10 * time.Second, TransportIdleConnTimeout: 90 * time.Second,
		TransportMaxIdleConns: 100, TransportMaxIdleConnsPerHost: 100, TransportTLSHandshakeTimeout: 10 * time.Second,
	}
	if a := c.Config.HttpAuth; a != nil {
		in.AuthEnabled, in.AuthUsername, in.AuthPassword = true, a.Username, a.Password
	}
	set := dep.NewClientSet()
	if err := set.CreateConsulClient(in); err != nil {
		return nil, fmt.Errorf("the way to the agent: %w", err)
	}
	return set, nil
}
