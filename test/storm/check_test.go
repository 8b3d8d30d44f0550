//go:build linux

package storm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/program"
)

// instance is one instance of a service as a server shows it.
type instance struct {
	service, node, address, id string
	port                       int
	health                     string
}

func (i instance) String() string {
	return fmt.Sprintf("%s %s %s %s:%d %s", i.service, i.id, i.node, i.address, i.port, i.health)
}

// catalog returns all that a server shows.
func (s *process) catalog(ctx context.Context) (out []instance, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	q := new(api.QueryOptions).WithContext(ctx)
	services, _, err := s.client.Catalog().Services(q)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name(), err)
	}
	for service := range services {
		found, err := s.health(ctx, service)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	slices.SortFunc(out, func(a, b instance) int { return strings.Compare(a.String(), b.String()) })
	return out, nil
}

// health returns the instances of a service that a server or an agent shows.
func (s *process) health(ctx context.Context, service string) (out []instance, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found, _, err := s.client.Health().Service(service, "", false, new(api.QueryOptions).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name(), err)
	}
	for _, f := range found {
		out = append(out, instance{service, f.Node.Node, f.Node.Address, f.Service.ID, f.Service.Port, f.Checks.AggregatedStatus()})
	}
	return out, nil
}

// living returns the programs that beat, by id, with the ports that they announce. The
// error is about one whose newest set no server has acknowledged.
func (s *storm) living() (map[string]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]int{}
	var behind error
	for _, n := range s.tenants {
		state, port, put := n.now()
		if state != beating {
			continue
		}
		if port != put {
			behind = fmt.Errorf("no server has acknowledged the port %d of %s", port, n.id)
		}
		out[n.id] = port
	}
	return out, behind
}

// leased reports whether an instance is of a program with a lease.
func (i instance) leased() bool { return strings.HasPrefix(i.id, i.service+".") }

// whole returns why the cluster is not whole: all servers show the same, and of programs
// that beat the newest. Those that ended may be shown for their TTL and longer.
func (s *storm) whole() error { return s.same(false) }

// clean is whole, and those that ended are shown nowhere.
func (s *storm) clean() error { return s.same(true) }

// same compares what all servers show, of programs that ended only if strict.
func (s *storm) same(strict bool) error {
	living, err := s.living()
	if err != nil {
		return err
	}
	var first []instance
	for n, server := range s.servers {
		all, err := server.catalog(s.ctx)
		if err != nil {
			return err
		}
		missing := len(living)
		all = slices.DeleteFunc(all, func(i instance) bool {
			port, lives := living[i.id]
			if lives && i.port == port && i.health == api.HealthPassing {
				missing--
			}
			if !lives && i.leased() && strict {
				err = fmt.Errorf("%s shows %v, which ended", server.name(), i)
			}
			return !lives && i.leased()
		})
		if err != nil {
			return err
		}
		if missing > 0 {
			return fmt.Errorf("%s does not show %s", server.name(), lacking(all, living))
		}
		if n == 0 {
			first = all
		} else if err := differ(s.servers[0].name(), first, server.name(), all); err != nil {
			return err
		}
	}
	return s.present(first)
}

// present returns an error if a server's own services are not shown.
func (s *storm) present(all []instance) error {
	for _, server := range s.servers {
		for _, service := range []string{"consul", "own"} {
			if !slices.ContainsFunc(all, func(i instance) bool { return i.service == service && i.node == server.name() }) {
				return fmt.Errorf("the service %s of %s is not shown", service, server.name())
			}
		}
	}
	return nil
}

// lacking lists what of the living is not shown as it should be.
func lacking(all []instance, living map[string]int) string {
	var out []string
	for id, port := range living {
		i := slices.IndexFunc(all, func(i instance) bool { return i.id == id })
		switch {
		case i < 0:
			out = append(out, id)
		case all[i].port != port:
			out = append(out, fmt.Sprintf("%s with port %d, but %d", id, port, all[i].port))
		case all[i].health != api.HealthPassing:
			out = append(out, all[i].String())
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// differ returns the first difference of what two servers show.
func differ(a string, as []instance, b string, bs []instance) error {
	for _, i := range as {
		if !slices.Contains(bs, i) {
			return fmt.Errorf("%s shows %v, %s does not", a, i, b)
		}
	}
	for _, i := range bs {
		if !slices.Contains(as, i) {
			return fmt.Errorf("%s shows %v, %s does not", b, i, a)
		}
	}
	if len(as) != len(bs) {
		return fmt.Errorf("%s shows %d instances, %s %d", a, len(as), b, len(bs))
	}
	return nil
}

// writable returns an error if a server takes no write, or does not read it.
func (s *storm) writable() error {
	for _, server := range s.servers {
		c, cancel := context.WithTimeout(s.ctx, 3*time.Second)
		value := time.Now().Format(time.RFC3339Nano)
		p := &api.KVPair{Key: "writable/" + server.name(), Value: []byte(value)}
		_, err := server.client.KV().Put(p, new(api.WriteOptions).WithContext(c))
		if err == nil {
			p, _, err = server.client.KV().Get(p.Key, new(api.QueryOptions).WithContext(c))
			if err == nil && (p == nil || string(p.Value) != value) {
				err = errors.New("it reads something else than it has written")
			}
		}
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", server.name(), err)
		}
	}
	return nil
}

// released returns an error while the guard of a server holds owners.
func (s *storm) released() error {
	for _, server := range s.servers {
		var guard struct{ Held int }
		if err := server.ask(s.ctx, "GET", "/v1/skerry/guard", nil, &guard); err != nil {
			return err
		}
		if guard.Held != 0 {
			return fmt.Errorf("the guard of %s holds %d owners", server.name(), guard.Held)
		}
	}
	return nil
}

// bounds are how long the cluster may take after a fault has ended.
type bounds struct {
	network time.Duration // until it is whole, after faults of the network and stopped servers
	restart time.Duration // until it is whole, after servers started again
	agents  time.Duration // until agents show the same, and their instances are shown: they may rest for 7.5 s before they ask a server again
	held    time.Duration // likewise after servers started again, at which agents hold what a view lacks for 15 s
	store   time.Duration // until all servers write
	clean   time.Duration // until what ended is gone
}

// judge waits until the cluster is whole after a fault that ended at that time, and then
// checks all that was seen meanwhile.
func (s *storm) judge(name string, l *load, ended time.Time, restart bool, b bounds) {
	s.t.Helper()
	network, agents := b.network, b.agents
	if restart {
		network, agents = b.restart, b.held
	}
	whole := &wait{what: "whole", bound: network, is: s.whole}
	store := &wait{what: "all servers write", bound: b.store, is: s.writable}
	everywhere := &wait{what: "agents show the same", bound: agents, is: s.everywhere}
	s.await(name, ended, whole, store, everywhere)
	l.end()
	clean := &wait{what: "what ended is gone", bound: b.clean, is: s.clean}
	s.await(name, ended, clean, &wait{what: "the guard holds nobody", bound: b.clean, is: s.released})
	for _, err := range s.record.wrong() {
		s.t.Errorf("%s: %v", name, err)
	}
	for _, err := range doubles(s.holds.all) {
		s.t.Errorf("%s: %v", name, err)
	}
	l.history.Judge(s.t)
	for _, err := range s.record.missed() {
		s.t.Errorf("%s: %v", name, err)
	}
	s.t.Logf("%s: %v, %v, %v; %d calls, %d locks held, %d removals", name, whole, store, clean, l.history.Len(), len(s.holds.all), s.record.removals())
	if len(s.agents) > 0 {
		s.t.Logf("%s: %v; %v", name, everywhere, s.record.counts())
	}
	s.record.forget(time.Now().Add(-2 * ttl))
	s.forget()
}

// wait is something that has to come within a time after a fault ended.
type wait struct {
	what  string
	bound time.Duration
	is    func() error

	took time.Duration
	err  error // it did not come
	last error // why it had not come before
}

func (w *wait) String() string { return fmt.Sprint(w.what, " after ", w.took.Round(time.Millisecond)) }

// await waits for all of them. It waits longer than their bounds, so that what follows can be judged too.
func (s *storm) await(name string, ended time.Time, all ...*wait) {
	s.t.Helper()
	var waits []func()
	for _, w := range all {
		waits = append(waits, func() {
			w.err = program.Await(w.bound+time.Minute, func() error {
				err := w.is()
				if err != nil {
					w.last = err
				}
				return err
			})
			w.took = time.Since(ended)
		})
	}
	together(waits)
	for _, w := range all {
		switch {
		case w.err != nil:
			s.t.Fatalf("%s: %s: %v", name, w.what, w.err)
		case w.took > w.bound:
			s.t.Errorf("%s: %v, later than %v; until then %v", name, w, w.bound, w.last)
		}
	}
}
