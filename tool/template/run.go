package template

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	dep "github.com/hashicorp/consul-template/dependency"
	"github.com/hashicorp/consul-template/template"
	"github.com/hashicorp/consul-template/watch"
	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tool/child"
)

// Run renders the files, and again at every change, until ctx or a signal ends it,
// or the program of Child does: its exit code is returned. Errors are templates
// that cannot be understood and, with Once, all that keeps a file from being
// rendered; without it they are logged, and the last rendering stays.
func Run(ctx context.Context, o Options) (code int, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	if o.Stderr == nil {
		o.Stderr = io.Discard
	}
	retry := func(n int) (bool, time.Duration) { return true, min(250*time.Millisecond<<min(n, 10), 30*time.Second) }
	r := &runner{
		Options: o, brain: template.NewBrain(), guard: newGuard(o), used: map[string]dep.Dependency{},
		watcher: watch.NewWatcher(&watch.NewWatcherInput{
			Clients: o.Registry, MaxStale: o.MaxStale, BlockQueryWaitTime: time.Minute, RetryFuncConsul: retry, RetryFuncDefault: retry,
		}),
		keeper: child.Keeper{Spec: o.Child, Reload: o.Reload, Splay: o.Splay, Log: o.Log},
	}
	if err := r.read(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer r.end(cancel)
	return r.run(ctx)
}

type runner struct {
	Options
	files    []*file
	brain    *template.Brain
	watcher  *watch.Watcher
	guard    *guard
	used     map[string]dep.Dependency // by all templates, as of the last evaluation
	keeper   child.Keeper
	failing  bool // the last question had no answer
	rendered int  // how often a file was

	first    time.Time        // of the changes that wait for quiet; zero: none
	quiet    <-chan time.Time // when they are rendered
	complete bool             // all files were rendered once
}

// file is a template while it runs.
type file struct {
	File
	template *template.Template
	used     []dep.Dependency
	output   []byte // of the last evaluation; nil: something is missing
	done     bool   // it was rendered once
}

func (f *file) absent() bool {
	_, err := os.Stat(f.Dest)
	return !f.done && err != nil
}

// foreign are the functions that ask registries which are not ours.
var foreign = []string{"secret", "secrets", "pkiCert", "nomad*"}

// read reads the templates, anew when they were read before.
func (r *runner) read() error {
	files := make([]*file, len(r.Files))
	for i, f := range r.Files {
		t, err := template.NewTemplate(&template.NewTemplateInput{
			Source: f.Source, Destination: f.Dest, FunctionDenylist: foreign, ReaderFunc: os.ReadFile,
		})
		if err != nil {
			return skerry.Errorf(skerry.Invalid, "%s: %w", f.Source, err)
		}
		files[i] = &file{File: f, template: t}
		if r.files != nil {
			files[i].used, files[i].done = r.files[i].used, r.files[i].done
		}
	}
	r.files = files
	return nil
}

// end stops the questions.
func (r *runner) end(cancel context.CancelFunc) {
	cancel()
	r.watcher.Stop()
	r.Log.Info("ended", "rendered", r.rendered, "held", r.guard.holds)
}

func (r *runner) run(ctx context.Context) (int, error) {
	if err := r.evaluate(ctx); err != nil {
		return 0, err
	}
	for {
		if done, err := r.progress(ctx); done || err != nil {
			return 0, err
		}
		select {
		case <-r.keeper.Ended():
			return r.keeper.Wait()
		case <-r.keeper.Due():
			if err := r.keeper.Apply(); err != nil {
				return 0, err
			}
		case <-ctx.Done():
			if r.keeper.Started() {
				return r.keeper.Stop()
			}
			return 0, nil
		case sig := <-r.Signals:
			if done, err := r.signal(ctx, sig); done || err != nil {
				return 0, err
			}
		case view := <-r.watcher.DataCh():
			r.receive(ctx, view)
			if err := r.evaluate(ctx); err != nil {
				return 0, err
			}
		case <-r.guard.due():
			released := r.guard.released(ctx)
			for _, h := range released {
				r.brain.Remember(h.dependency, h.data)
			}
			if len(released) > 0 {
				if err := r.evaluate(ctx); err != nil {
					return 0, err
				}
			}
		case <-r.quiet:
			r.quiet, r.first = nil, time.Time{}
			if err := r.render(ctx); err != nil {
				return 0, err
			}
		case err := <-r.watcher.ServerErrCh():
			if r.Once && refused(err) {
				return 0, err
			}
			r.troubled(err)
		case err := <-r.watcher.ErrCh():
			return 0, err
		}
	}
}

// progress renders for the first time once nothing is missing, and returns whether the
// run is complete.
func (r *runner) progress(ctx context.Context) (done bool, err error) {
	if r.complete {
		return false, nil
	}
	if r.Once && len(r.guard.held) > 0 {
		for key, h := range r.guard.held {
			return false, fmt.Errorf("%s has %d entries, which is too few to be true: nothing is rendered; -grace 0 renders it as it is", key, h.size)
		}
	}
	if slices.ContainsFunc(r.files, func(f *file) bool { return f.output == nil }) {
		return false, nil
	}
	if err := r.render(ctx); err != nil {
		return false, err
	}
	// A program is not started without its files; they are tried again meanwhile.
	if slices.ContainsFunc(r.files, (*file).absent) && !r.Dry {
		return false, nil
	}
	r.complete = true
	if len(r.Child.Command) > 0 && !r.Dry {
		if err := r.keeper.Start(); err != nil {
			return false, err
		}
		return false, nil
	}
	return r.Once, nil
}

// signal acts on a signal, and returns whether it is the end.
func (r *runner) signal(ctx context.Context, sig os.Signal) (done bool, err error) {
	if r.keeper.Started() {
		r.keeper.Pass(sig)
		return false, nil
	}
	switch sig {
	case os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT:
		return true, nil
	case syscall.SIGHUP:
		if err := r.read(); err != nil {
			r.Log.Error("templates not read again; those from before stay", "error", err)
			return false, nil
		}
		r.Log.Info("templates read again")
		return false, r.evaluate(ctx)
	}
	return false, nil
}

// receive takes over an answer, and others that have come meanwhile.
func (r *runner) receive(ctx context.Context, view *watch.View) {
	for {
		d, data := view.Dependency(), view.Data()
		if r.failing {
			r.failing = false
			r.Log.Info("the registry answers again")
		}
		// It may be of a question that was withdrawn.
		if r.watcher.Watching(d) && r.guard.admits(ctx, d, data, r.fromBefore(d)) {
			r.brain.Remember(d, data)
		}
		select {
		case view = <-r.watcher.DataCh():
		default:
			return
		}
	}
}

// fromBefore reports whether a file that uses d is there, of this run or an
// earlier one, and not empty.
func (r *runner) fromBefore(d dep.Dependency) bool {
	return slices.ContainsFunc(r.files, func(f *file) bool {
		if !slices.ContainsFunc(f.used, func(u dep.Dependency) bool { return u.String() == d.String() }) {
			return false
		}
		info, err := os.Stat(f.Dest)
		return err == nil && info.Size() > 0
	})
}

// refused reports whether the registry will answer the same when it is asked again.
func refused(err error) bool {
	var status api.StatusError
	return errors.As(err, &status) && status.Code/100 == 4 && status.Code != http.StatusTooManyRequests
}

// troubled logs that the registry does not answer, once per outage.
func (r *runner) troubled(err error) {
	if !r.failing {
		r.Log.Warn("the registry does not answer; retrying, with the last data", "error", err)
	}
	r.failing = true
}

// evaluate works out all files from the present data, asks for missing data, and lets
// changes wait for quiet.
func (r *runner) evaluate(ctx context.Context) error {
	used := map[string]dep.Dependency{}
	changed := false
	for _, f := range r.files {
		if err := r.evaluateOne(f, &changed); err != nil {
			return err
		}
		for _, d := range f.used {
			used[d.String()] = d
		}
	}
	for key, d := range r.used {
		if used[key] == nil {
			r.watcher.Remove(d)
			r.brain.Forget(d)
			r.guard.forget(key)
		}
	}
	r.used = used
	if changed && r.complete {
		r.wait()
	}
	return nil
}

func (r *runner) evaluateOne(f *file, changed *bool) error {
	result, err := f.template.Execute(&template.ExecuteInput{Brain: r.brain})
	if err != nil {
		if r.Once || !f.done {
			return fmt.Errorf("%s: %w", f.Source, err)
		}
		r.Log.Error("template fails; the last rendering stays", "template", f.Source, "error", err)
		f.output = nil
		return nil
	}
	f.used, f.output = result.Used.List(), nil
	for _, d := range result.Missing.List() {
		if !r.watcher.Watching(d) {
			if _, err := r.watcher.Add(d); err != nil {
				return err
			}
		}
	}
	if result.Missing.Len() == 0 {
		f.output = append([]byte{}, result.Output...)
		*changed = true
	}
	return nil
}

// wait puts the rendering off until there was no change for a while.
func (r *runner) wait() {
	now := time.Now()
	if r.first.IsZero() {
		r.first = now
	}
	r.quiet = time.After(min(r.Wait.Min, r.first.Add(r.Wait.Max).Sub(now)))
}

// render writes the files that have changed, and runs their commands: each command once.
func (r *runner) render(ctx context.Context) error {
	var commands []string
	var failed []error
	changed := false
	for _, f := range r.files {
		if f.output == nil {
			continue
		}
		now, err := r.place(ctx, f.Dest, f.output)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", f.Dest, err))
			continue
		}
		f.done = true
		if !now {
			continue
		}
		changed = true
		r.rendered++
		r.Log.Info("rendered", "file", f.Dest)
		if f.Command != "" && !slices.Contains(commands, f.Command) {
			commands = append(commands, f.Command)
		}
	}
	for _, line := range commands {
		if r.Dry {
			break
		}
		if err := r.command(ctx, line); err != nil {
			failed = append(failed, err)
		}
	}
	if changed && r.keeper.Started() {
		r.keeper.Changed()
	}
	if r.Once {
		return errors.Join(failed...)
	}
	for _, err := range failed {
		r.Log.Error("not rendered as it should be", "error", err)
	}
	return nil
}
