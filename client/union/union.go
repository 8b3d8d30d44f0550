// Package union is several sources at once, for moving from one registry to another: it
// finds the instances of all of them, and registers in all.
//
//	import _ "github.com/skerryhq/skerry/client/union"
//
//	c, err := client.Open("union:///?of=etcd://10.0.0.1:2379/&of=skerry://10.0.0.9:8500/")
//
// Each source is judged by itself, by the rules of the client that has the union: one
// that fails keeps its last list, and nothing is gone for its sake. An instance that
// is in several, by its address, is found once, as the first of them has it.
//
// In a URL, the parameters of a source are escaped: & as %26.
package union

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/skerryhq/skerry/client"
)

func init() { client.RegisterScheme("union", open) }

func open(l client.Location) (client.Source, error) {
	for name := range l.Query {
		if name != "of" {
			return nil, fmt.Errorf("client/union: unknown parameter %q (there is: of, once for each source)", name)
		}
	}
	var sources []client.Source
	for _, rawURL := range l.Query["of"] {
		source, err := client.OpenSource(rawURL)
		if err != nil {
			return nil, fmt.Errorf("client/union: %w", err)
		}
		sources = append(sources, source)
	}
	if len(l.Hosts) > 0 || l.Path != "" || len(sources) == 0 {
		return nil, errors.New("client/union: want union:///?of=URL&of=URL, with a URL for each source")
	}
	return Of(sources...), nil
}

// Of returns the union of sources. It is a [client.Registry] if one of them is.
func Of(sources ...client.Source) client.Source {
	u := &union{sources}
	var r registry
	for _, source := range sources {
		if one, ok := source.(client.Registry); ok {
			r.members = append(r.members, one)
		}
	}
	if len(r.members) == 0 {
		return u
	}
	r.union = u
	return &r
}

type union struct{ sources []client.Source }

// patience is how long the first list waits for a silent source: half a list is worse for
// a program that starts than a late one.
const patience = 3 * time.Second

// Watch implements [client.Source].
func (u *union) Watch(ctx context.Context, service string) iter.Seq2[client.Update, error] {
	return func(yield func(client.Update, error) bool) {
		var followers sync.WaitGroup
		defer followers.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		m := &merger{members: make([]member, len(u.sources))}
		news := make(chan func())
		tell := func(change func()) {
			select {
			case news <- change:
			case <-ctx.Done():
			}
		}
		for n, source := range u.sources {
			one := &m.members[n]
			// The client of the union does the caching on disk.
			c := client.New(&tap{source, func(err error) { tell(func() { one.err = err }) }}, client.Inherit(ctx), client.WithCacheDir(""))
			followers.Go(func() {
				defer c.Close()
				for s := range c.Watch(ctx, service) {
					tell(func() { one.list, one.err = &s, s.Err })
				}
			})
		}
		late := time.NewTimer(patience)
		defer late.Stop()
		for {
			select {
			case change := <-news:
				change()
			case <-late.C:
				m.impatient = true
			case <-ctx.Done():
				return
			}
			if update, err, ok := m.merge(); ok && !yield(update, err) {
				return
			}
		}
	}
}

// tap hears the errors of a source that has no list yet.
type tap struct {
	client.Source
	failed func(error)
}

func (t *tap) Watch(ctx context.Context, service string) iter.Seq2[client.Update, error] {
	return func(yield func(client.Update, error) bool) {
		for u, err := range t.Source.Watch(ctx, service) {
			if err != nil {
				t.failed(err)
			}
			if !yield(u, err) {
				return
			}
		}
	}
}
