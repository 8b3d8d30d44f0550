// Package exec runs a program with variables from the keys below prefixes, and
// runs it again, or tells it, when they change: what envconsul does. It asks any
// address that speaks Consul's API.
package exec

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
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

// Options say what runs and with what. Prefixes and Child.Command are needed.
type Options struct {
	Prefixes []Prefix // of two that set the same variable the later one wins
	Sanitize bool     // make characters that a shell's variables cannot have underscores
	Upcase   bool     // make names upper case
	Pristine bool     // inherit nothing
	Once     bool     // do not look for changes
	// Reload is sent to the program at a change; nil: it is run again.
	Reload os.Signal
	// Splay is the longest of the random waits before the program is told or run
	// again, so that not all of a fleet do at once.
	Splay time.Duration
	// KillAfter is how long the program may take to end before it is run again;
	// default 30 s.
	KillAfter time.Duration
	Child     child.Spec // its Env is what is inherited; nil: this process's own
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
	if o.KillAfter == 0 {
		o.KillAfter = 30 * time.Second
	}
	if o.Child.Env == nil {
		o.Child.Env = os.Environ()
	}
	if o.Pristine {
		o.Child.Env = []string{}
	}
	r := &runner{Options: o, read: make([]map[string]string, len(o.Prefixes)), told: make(chan change)}
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
	read    []map[string]string // by prefix; nil: not read yet
	told    chan change
	stop    context.CancelFunc // of the following
	current map[string]string  // what the program runs with
	program *child.Process     // nil until it was started
}

// tell hands what a prefix sets to run.
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
	var due <-chan time.Time // when the change is acted on
	cancelled := ctx.Done()
	for {
		var ended <-chan struct{}
		if r.program != nil {
			ended = r.program.Done()
		}
		select {
		case <-ended:
			return r.program.Wait()
		case <-cancelled:
			if r.program == nil {
				return 0, ctx.Err()
			}
			return r.program.Stop(syscall.SIGTERM, r.KillAfter)
		case sig := <-r.Signals:
			if r.program == nil {
				return 128 + number(sig), nil
			}
			r.signal(sig)
		case c := <-r.told:
			r.read[c.prefix] = c.vars
			switch {
			case !r.complete():
			case r.program == nil:
				if err := r.start(); err != nil {
					return 0, err
				}
			case due == nil && !maps.Equal(r.merged(), r.current):
				due = time.After(r.wait())
			}
		case <-due:
			due = nil
			select {
			case <-ended:
				return r.program.Wait() // not one to run again
			default:
			}
			if maps.Equal(r.merged(), r.current) {
				continue // it has changed back
			}
			if err := r.apply(); err != nil {
				return 0, err
			}
		}
	}
}

func (r *runner) complete() bool {
	for _, vars := range r.read {
		if vars == nil {
			return false
		}
	}
	return true
}

func (r *runner) merged() map[string]string {
	all := map[string]string{}
	for _, vars := range r.read {
		maps.Copy(all, vars)
	}
	return all
}

func (r *runner) wait() time.Duration {
	if r.Splay <= 0 {
		return 0
	}
	return rand.N(r.Splay)
}

func (r *runner) start() error {
	r.current = r.merged()
	spec := r.Child
	spec.Env = environment(spec.Env, r.current)
	var err error
	if r.program, err = child.Start(spec); err != nil {
		return err
	}
	if r.Once {
		r.stop()
	}
	return nil
}

// apply tells the program of the change, or runs it again.
func (r *runner) apply() error {
	if r.Reload != nil {
		r.Log.Info("variables changed; telling the program", "signal", r.Reload)
		r.current = r.merged()
		r.signal(r.Reload)
		return nil
	}
	r.Log.Info("variables changed; running the program again")
	if _, err := r.program.Stop(syscall.SIGTERM, r.KillAfter); err != nil {
		return err
	}
	return r.start()
}

func (r *runner) signal(sig os.Signal) {
	if err := r.program.Signal(sig); err != nil {
		r.Log.Warn("signal not passed on", "signal", sig, "error", err)
	}
}

func number(sig os.Signal) int {
	if n, ok := sig.(syscall.Signal); ok {
		return int(n)
	}
	return 0
}
