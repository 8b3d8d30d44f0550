// Package exec runs a program with variables from the keys below prefixes, and runs it
// again, or signals it, when they change, as envconsul does. It asks any address that
// speaks Consul's API.
package exec

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/tool/child"
)

// Prefix is a folder of keys.
type Prefix struct {
	Folder     string // "app/config/"; "" is all keys
	Datacenter string // "": the agent's
}

// ParsePrefix understands app/config and app/config@dc2.
func ParsePrefix(s string) Prefix {
	folder, dc, _ := strings.Cut(s, "@")
	if folder = strings.Trim(folder, "/"); folder != "" {
		folder += "/"
	}
	return Prefix{folder, dc}
}

// Options configures a run. Prefixes and Child.Command are required.
type Options struct {
	Prefixes []Prefix // of two that set the same variable the later one wins
	Sanitize bool     // make characters that a shell's variables cannot have underscores
	Upcase   bool     // make names upper case
	Pristine bool     // inherit nothing
	Once     bool     // do not look for changes
	// Reload is sent to the program at a change; nil: it is run again.
	Reload os.Signal
	// Splay is the longest of the random waits before the program is signalled or run
	// again, so that a fleet does not do so at once.
	Splay time.Duration
	Child child.Spec // its Env is the inherited part; nil: this process's own
	// Signals are passed on to the program.
	Signals <-chan os.Signal
	Log     *slog.Logger // default: discard
}

// Run waits until all prefixes could be read, runs the program and returns its
// exit code when it ends by itself. The end of ctx ends the program like SIGTERM.
func Run(ctx context.Context, kv Lister, o Options) (int, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Child.Env == nil {
		o.Child.Env = os.Environ()
	}
	if o.Pristine {
		o.Child.Env, o.Child.Unmarked = []string{}, true
	}
	r := &runner{
		Options: o, inherited: o.Child.Env, read: make([]map[string]string, len(o.Prefixes)), told: make(chan change),
		keeper: child.Keeper{Spec: o.Child, Reload: o.Reload, Splay: o.Splay, Log: o.Log},
	}
	following, stop := context.WithCancel(ctx)
	r.stop = stop
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for i, p := range o.Prefixes {
		wg.Go(func() {
			follow(following, kv, p, func(pairs api.KVPairs) { r.tell(following, i, pairs) }, o.Log)
		})
	}
	return r.run(ctx)
}

type change struct {
	prefix int
	vars   map[string]string
}

type runner struct {
	Options
	inherited []string
	read      []map[string]string // by prefix; nil: not read yet
	told      chan change
	stop      context.CancelFunc // of the following
	current   map[string]string  // the program's variables
	keeper    child.Keeper
}

// tell passes the variables of a prefix to run.
func (r *runner) tell(ctx context.Context, prefix int, pairs api.KVPairs) {
	p := r.Prefixes[prefix]
	vars, refused := naming{r.Sanitize, r.Upcase}.variables(p.Folder, pairs)
	for _, key := range refused {
		r.Log.Warn("no environment can hold this key; it is left out", "key", key)
	}
	select {
	case r.told <- change{prefix, vars}:
	case <-ctx.Done():
	}
}

func (r *runner) run(ctx context.Context) (int, error) {
	for {
		select {
		case <-r.keeper.Ended():
			return r.keeper.Wait()
		case <-ctx.Done():
			if !r.keeper.Started() {
				return 0, ctx.Err()
			}
			return r.keeper.Stop()
		case sig := <-r.Signals:
			if !r.keeper.Started() {
				return 128 + child.Number(sig), nil
			}
			r.keeper.Pass(sig)
		case c := <-r.told:
			r.read[c.prefix] = c.vars
			if err := r.changed(); err != nil {
				return 0, err
			}
		case <-r.keeper.Due():
			if err := r.apply(); err != nil {
				return 0, err
			}
		}
	}
}

// changed starts the program once all prefixes were read, and acts on later changes.
func (r *runner) changed() error {
	for _, vars := range r.read {
		if vars == nil {
			return nil
		}
	}
	if r.keeper.Started() {
		if !maps.Equal(r.merged(), r.current) {
			r.keeper.Changed()
		}
		return nil
	}
	r.take()
	if r.Once {
		r.stop()
	}
	return r.keeper.Start()
}

// apply lets the program know, unless all has changed back meanwhile.
func (r *runner) apply() error {
	if maps.Equal(r.merged(), r.current) {
		r.keeper.Drop()
		return nil
	}
	r.take()
	return r.keeper.Apply()
}

func (r *runner) take() {
	r.current = r.merged()
	r.keeper.Env = environment(r.inherited, r.current)
}

func (r *runner) merged() map[string]string {
	all := map[string]string{}
	for _, vars := range r.read {
		maps.Copy(all, vars)
	}
	return all
}
