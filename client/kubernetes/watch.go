package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/skerryhq/skerry/client"
)

// debounce is for how long changes are gathered: a rollout makes many.
const debounce = 100 * time.Millisecond

// Watch implements [client.Source]: a list, then a watch from its version. A watch that
// breaks goes on where it was; one whose version is forgotten begins with a new list, and
// the old one stays until that has come.
func (s *Source) Watch(ctx context.Context, service string) iter.Seq2[client.Update, error] {
	return func(yield func(client.Update, error) bool) {
		t, err := s.parse(service)
		if err != nil {
			if yield(client.Update{}, err) {
				<-ctx.Done()
			}
			return
		}
		f := &follower{api: s.api, target: t, yield: yield, view: view{port: t.port, service: service}}
		var pause client.Backoff
		for ctx.Err() == nil {
			began := time.Now()
			err := f.follow(ctx)
			if f.enough || ctx.Err() != nil {
				return
			}
			if f.told && time.Since(began) >= time.Second {
				pause.Reset()
			}
			// A watch that was cut or is outdated is opened again before an error is
			// reported.
			if !f.told || !errors.Is(err, errBroken) && !outdated(err) {
				f.failing = true
				if !yield(client.Update{}, fmt.Errorf("client/kubernetes: %s: %w", service, err)) {
					return
				}
			}
			pause.Wait(ctx)
		}
	}
}

// follower follows one service for one Watch.
type follower struct {
	api    *api
	target target
	view   view
	yield  func(client.Update, error) bool
	enough bool // it does not want more

	version  string // to watch from; "": list first
	path     string
	selector url.Values
	warned   bool // of the fallback
	failing  bool // an error has been reported since the last list
	told     bool // the last attempt to follow came as far as a watch
	present  map[string]bool
}

var (
	errEnough = errors.New("client/kubernetes: the caller has enough")
	errBroken = errors.New("the watch has ended")
)

// follow lists if need be and watches until that ends.
func (f *follower) follow(ctx context.Context) error {
	f.told = false
	if f.version == "" {
		if err := f.list(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*watchFor+answerWithin)
	defer cancel()
	next, err := f.api.watch(ctx, f.path, f.selector, f.version)
	if err != nil {
		// A list is dear to a server that is overloaded or ill.
		var status *errStatus
		if outdated(err) || errors.As(err, &status) && status.Code < 500 && status.Code != http.StatusTooManyRequests {
			f.version = ""
		}
		f.told = outdated(err)
		return err
	}
	f.told = true
	return f.read(ctx, cancel, next)
}

// list reads everything anew. The last list stays until the new one has come.
func (f *follower) list(ctx context.Context) error {
	f.path, f.selector = f.target.slices()
	o, err := f.api.list(ctx, f.path, f.selector)
	if refused(err) {
		path, selector := f.target.endpoints()
		older, olderErr := f.api.list(ctx, path, selector)
		if olderErr != nil {
			return fmt.Errorf("%w (grant get, list and watch of endpointslices in discovery.k8s.io); endpoints: %w", err, olderErr)
		}
		if !f.warned {
			f.warned = true
			slog.Warn("EndpointSlices may not be read, Endpoints are followed instead, which Kubernetes gives up and cuts at 1000: grant get, list and watch of endpointslices in discovery.k8s.io",
				"namespace", f.target.namespace, "service", f.target.service, "error", err)
		}
		f.path, f.selector, o, err = path, selector, older, nil
	}
	if err != nil {
		return err
	}
	f.view.objects = make(map[string]*object, len(o.Items))
	for n := range o.Items {
		f.view.objects[o.Items[n].Metadata.Name] = &o.Items[n]
	}
	f.version = o.Metadata.ResourceVersion
	return f.tell(false)
}

// read takes the events of a watch in, and ends it.
func (f *follower) read(ctx context.Context, cancel func(), next func() (event, error)) error {
	type line struct {
		event
		err error
	}
	lines := make(chan line)
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		for {
			e, err := next()
			select {
			case lines <- line{e, err}:
			case <-ctx.Done():
			}
			if err != nil || ctx.Err() != nil {
				return
			}
		}
	}()
	var gathered <-chan time.Time
	if f.failing {
		// It answers again, but the error about the version comes first.
		gathered = time.After(debounce)
	}
	dirty := false
	for {
		var err error
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errBroken, ctx.Err())
		case <-gathered:
			gathered, dirty = nil, false
			if err := f.tell(true); err != nil {
				return err
			}
			continue
		case l := <-lines:
			var changed bool
			if err = l.err; err == nil {
				changed, err = f.take(l.event)
			} else if !malformed(err) {
				err = fmt.Errorf("%w: %w", errBroken, err)
			} else {
				f.version = ""
			}
			if dirty = dirty || changed; changed && gathered == nil {
				gathered = time.After(debounce)
			}
		}
		if err != nil {
			if dirty {
				if err := f.tell(true); err != nil {
					return err
				}
			}
			return err
		}
	}
}

// malformed reports whether the answer is no JSON, rather than cut off.
func malformed(err error) bool {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	return !errors.Is(err, io.ErrUnexpectedEOF) && (errors.As(err, &syntax) || errors.As(err, &kind))
}

// take takes one event in, and reports whether it changed anything.
func (f *follower) take(e event) (changed bool, err error) {
	if e.Type == "ERROR" {
		status := &errStatus{}
		f.version = ""
		if err := json.Unmarshal(e.Object, status); err != nil {
			return false, fmt.Errorf("an error in the watch cannot be read: %w", err)
		}
		return false, status
	}
	o := &object{}
	if err := json.Unmarshal(e.Object, o); err != nil || o.Metadata.ResourceVersion == "" {
		f.version = ""
		return false, fmt.Errorf("an event %q of the watch cannot be read: %w", e.Type, err)
	}
	switch e.Type {
	case "ADDED", "MODIFIED":
		f.view.objects[o.Metadata.Name] = o
		changed = true
	case "DELETED":
		delete(f.view.objects, o.Metadata.Name)
		changed = true
	}
	f.version = o.Metadata.ResourceVersion // of bookmarks too
	return changed, nil
}

// tell yields the list as it is. An instance that is missing after an event has been
// removed; a new list does not prove that.
func (f *follower) tell(events bool) error {
	w, err := f.view.union()
	if err != nil {
		f.failing = true
		if f.enough = !f.yield(client.Update{}, err); f.enough {
			return errEnough
		}
		return nil
	}
	u := client.Update{Instances: w.instances, Left: w.withdrawn, Unsettled: w.truncated}
	if events {
		for id := range f.present {
			if !w.present[id] && !slices.Contains(w.withdrawn, id) {
				u.Left = append(u.Left, id)
			}
		}
	}
	slices.Sort(u.Left)
	f.present, f.failing = w.present, false
	if f.enough = !f.yield(u, nil); f.enough {
		return errEnough
	}
	return nil
}
