// Package docker is the check that runs a program inside a container, through the
// engine's API: exit status 0 passes, 1 warns, anything else is critical.
package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/check"
	"github.com/skerryhq/skerry/check/script"
	"github.com/skerryhq/skerry/process"
)

// Kind returns the row of the table. host is the engine's address
// ("unix:///run/docker.sock"); "" takes DOCKER_HOST and its companions from the
// environment, else the usual socket. Processes that cannot be ended after a timeout are
// logged; log may be nil.
func Kind(host string, log *slog.Logger) check.Kind {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	e := &engine{host: host, log: log}
	return check.Kind{
		Name:    "docker",
		Matches: func(d *skerry.CheckDefinition) bool { return d.DockerContainerID != "" },
		Timeout: 30 * time.Second,
		Runs:    true,
		Peers:   func(d *skerry.CheckDefinition) []string { return []string{"docker", "docker " + d.DockerContainerID} },
		Valid: func(d *skerry.CheckDefinition) error {
			if len(d.Args) == 0 {
				return &skerry.Error{Kind: skerry.Invalid, Subject: "check", Message: "Args must be set for Docker checks"}
			}
			return nil
		},
		New: func(d *skerry.CheckDefinition) (check.Prober, error) {
			return &prober{engine: e, container: d.DockerContainerID, shell: d.Shell, args: d.Args, timeout: d.Timeout, outputMax: d.OutputMaxSize}, nil
		},
	}
}

// endWithin is how long a program may take to end when it is killed.
const endWithin = 2 * time.Second

// engine is the connection that all checks share. It is made at the first run:
// most hosts have no engine, and few have it at start.
type engine struct {
	host string
	log  *slog.Logger
	mu   sync.Mutex
	api  *client.Client
}

func (e *engine) client() (*client.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.api != nil {
		return e.api, nil
	}
	from := client.Opt(client.FromEnv)
	if e.host != "" {
		from = client.WithHost(e.host)
	}
	api, err := client.New(from)
	if err != nil {
		return nil, err
	}
	e.api = api
	return api, nil
}

type prober struct {
	engine           *engine
	container, shell string
	args             []string
	timeout          time.Duration // for the message: the deadline comes with the context
	outputMax        int
}

// Check implements [check.Prober]. The engine has no call to end an exec: a program
// that takes too long is killed where this process sees it, on the engine's own host
// as root; elsewhere it goes on in its container, unread.
func (p *prober) Check(ctx context.Context) check.Result {
	out := check.Capture{Max: p.outputMax}
	var to connecting
	mark := process.NewMark()
	code, err := p.exec(to.watch(ctx), mark, &out)
	if err != nil && check.FaultOf(to.failed()) != "" {
		err = to.failed()
	}
	switch {
	case ctx.Err() != nil:
		p.end(mark)
		return check.Result{Status: skerry.Critical, Output: script.TimedOut(p.timeout, out.String())}
	case err != nil:
		r := check.Failed(err)
		r.Output = check.Truncate(r.Output, p.outputMax)
		return r
	}
	return check.Result{Status: script.Status(code), Output: out.String()}
}

// connecting keeps the reason why the engine could not be reached: its client reports the
// failure without one.
type connecting struct {
	mu  sync.Mutex
	err error
}

func (c *connecting) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{ConnectDone: func(_, _ string, err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.err = err
	}})
}

func (c *connecting) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (p *prober) end(mark string) {
	killed, left := process.Family{Mark: mark}.End(endWithin)
	if len(killed) == 0 || len(left) > 0 {
		p.engine.log.Warn("a check's program took too long and goes on in its container, if it runs still: it could not be killed from here",
			"container", p.container, "program", p.args[0], "left", process.Names(left))
	}
}

func (p *prober) exec(ctx context.Context, mark string, out io.Writer) (code int, err error) {
	api, err := p.engine.client()
	if err != nil {
		return 0, err
	}
	command, err := p.command(ctx, api)
	if err != nil {
		return 0, err
	}
	made, err := api.ExecCreate(ctx, p.container, client.ExecCreateOptions{Cmd: command, Env: []string{mark}, AttachStdout: true, AttachStderr: true})
	if err != nil {
		return 0, err
	}
	attached, err := api.ExecAttach(ctx, made.ID, client.ExecAttachOptions{})
	if err != nil {
		return 0, err
	}
	defer attached.Close()
	defer context.AfterFunc(ctx, attached.Close)()
	if _, err := stdcopy.StdCopy(out, out, attached.Reader); err != nil {
		return 0, fmt.Errorf("read the output from container %s: %w", p.container, err)
	}
	done, err := api.ExecInspect(ctx, made.ID, client.ExecInspectOptions{})
	if err != nil {
		return 0, err
	}
	if done.Running {
		return 0, errors.New("the program closed its output but still runs")
	}
	return done.ExitCode, nil
}

// command returns the command to run. Several arguments, or one plain word, are a
// program, run as it is, so that containers without a shell can be checked; one argument
// with more in it, or any with a shell asked for, is a line for the shell.
func (p *prober) command(ctx context.Context, api *client.Client) ([]string, error) {
	shell := p.shell
	if shell == "" {
		if len(p.args) > 1 || !strings.ContainsAny(p.args[0], " \t\n|&;<>()$`\\\"'*?[]#~=%!{}") {
			return p.args, nil
		}
		var err error
		if shell, err = p.ownShell(ctx, api); err != nil {
			return nil, err
		}
	}
	return []string{shell, "-c", strings.Join(p.args, " ")}, nil
}

// ownShell returns the container's $SHELL, else /bin/sh.
func (p *prober) ownShell(ctx context.Context, api *client.Client) (string, error) {
	info, err := api.ContainerInspect(ctx, p.container, client.ContainerInspectOptions{})
	if err != nil {
		return "", err
	}
	if info.Container.Config != nil {
		for _, env := range info.Container.Config.Env {
			if shell, ok := strings.CutPrefix(env, "SHELL="); ok && shell != "" {
				return shell, nil
			}
		}
	}
	return "/bin/sh", nil
}
