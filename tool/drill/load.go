package drill

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// load is the programs at work.
type load struct {
	s       *stage
	stop    context.CancelFunc
	ctx     context.Context
	work    sync.WaitGroup
	tallies []tally

	mu      sync.Mutex
	living  map[string]map[string]bool // by service, the instances that every answer must have
	gone    map[string]map[string]bool // likewise, those that no answer may have in the end
	acked   map[string]int             // the newest acknowledged number, by key
	current map[*member]bool           // whether the job at an agent is registered, as acknowledged last
	holder  string                     // of the lock
	until   time.Time                  // when its session may have ended
	broken  []string
}

func newLoad(s *stage) *load {
	l := &load{
		s: s, tallies: make([]tally, len(kinds)), living: map[string]map[string]bool{}, gone: map[string]map[string]bool{},
		acked: map[string]int{}, current: map[*member]bool{},
	}
	l.ctx, l.stop = context.WithCancel(s.ctx)
	return l
}

const (
	shop      = "shop" // the service whose instances stay
	perAgent  = 3      // instances of it at each agent
	lookEvery = 50 * time.Millisecond
	// changeEvery is the rest between two changes of one program.
	changeEvery = 200 * time.Millisecond
	holds       = 500 * time.Millisecond // for which a lock is held
	sessionTTL  = 10 * time.Second       // the shortest there is
)

// begin registers what stays, waits until all agents show it, and starts the callers.
func (l *load) begin() error {
	for _, a := range l.s.agents {
		for n := range perAgent {
			id := fmt.Sprintf("%s-%s-%d", shop, a.name, n+1)
			if _, err := a.ask(l.ctx, http.MethodPut, "/v1/agent/service/register", registration(shop, id, 8000+n), nil); err != nil {
				return err
			}
			l.lives(shop, id)
		}
	}
	if err := l.s.await("all show the registrations", time.Minute, l.s.whole); err != nil {
		return err
	}
	locks := l.tallies[locks].series() // one: the time without any new holder counts
	for _, a := range l.s.agents {
		l.caller(lookUps, a, lookEvery, func() error { return l.right(a) })
		l.caller(registrations, a, changeEvery, l.registrar(a))
		l.caller(keys, a, changeEvery/2, l.writer(a))
		l.work.Go(func() { l.holds(a, locks) })
	}
	return nil
}

// end stops the callers.
func (l *load) end() {
	l.stop()
	l.work.Wait()
}

func registration(service, id string, port int) map[string]any {
	return map[string]any{"Name": service, "ID": id, "Port": port}
}

// caller makes a call at a process again and again, and counts.
func (l *load) caller(k kind, m *member, every time.Duration, call func() error) {
	s := l.tallies[k].series()
	l.work.Go(func() {
		for l.pause(every) {
			err := m.during(call)
			if l.ctx.Err() != nil {
				break // the call was broken off
			}
			s.note(time.Now(), err)
		}
		l.tallies[k].end(time.Now())
	})
}

// pause waits, and reports whether the load goes on.
func (l *load) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// lives notes that an instance is to be in every answer.
func (l *load) lives(service string, ids ...string) { l.move(service, ids, l.gone, l.living) }

// leaves notes that an instance may be missing from now on.
func (l *load) leaves(service string, ids ...string) { l.move(service, ids, l.living, nil) }

// dead notes that an instance must be in no answer when all is whole again.
func (l *load) dead(service string, ids ...string) { l.move(service, ids, l.living, l.gone) }

func (l *load) move(service string, ids []string, from, to map[string]map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		delete(from[service], id)
		if to == nil {
			continue
		}
		if to[service] == nil {
			to[service] = map[string]bool{}
		}
		to[service][id] = true
	}
}

// right looks all services up at a process. An instance that lives and is missing is an error.
func (l *load) right(m *member) error {
	l.mu.Lock()
	services := slices.Sorted(maps.Keys(l.living))
	l.mu.Unlock()
	for _, service := range services {
		l.mu.Lock()
		want := slices.Sorted(maps.Keys(l.living[service]))
		l.mu.Unlock()
		ids, err := l.find(m, service)
		if err != nil {
			return err
		}
		l.mu.Lock()
		want = slices.DeleteFunc(want, func(id string) bool { return !l.living[service][id] }) // it left meanwhile
		l.mu.Unlock()
		if missing := without(want, ids); len(missing) > 0 {
			return fmt.Errorf("an answer lacks %s", strings.Join(missing, ", "))
		}
	}
	return nil
}

// find returns the passing instances of a service.
func (l *load) find(m *member, service string) (ids []string, err error) {
	var found []struct{ Service struct{ ID string } }
	if _, err := m.ask(l.s.ctx, http.MethodGet, "/v1/health/service/"+service+"?passing", nil, &found); err != nil {
		return nil, err
	}
	for _, f := range found {
		ids = append(ids, f.Service.ID)
	}
	return ids, nil
}

func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(id string) bool { return slices.Contains(some, id) })
}

// absent reports whether a process shows an instance of a service that is dead.
func (l *load) absent(m *member, service string) error {
	ids, err := l.find(m, service)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if l.gone[service][id] {
			return fmt.Errorf("%s shows %s", m.name, id)
		}
	}
	return nil
}

const job = "job" // the service of the programs that come and go

// registrar registers and withdraws an instance in turn.
func (l *load) registrar(a *member) func() error {
	there := false
	id := job + "-" + a.name
	return func() (err error) {
		if there {
			_, err = a.ask(l.s.ctx, http.MethodPut, "/v1/agent/service/deregister/"+id, nil, nil)
		} else {
			_, err = a.ask(l.s.ctx, http.MethodPut, "/v1/agent/service/register", registration(job, id, 9000), nil)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if err != nil {
			delete(l.current, a) // it may have been made or not
			return err
		}
		there = !there
		l.current[a] = there
		return nil
	}
}

// writer writes growing numbers into a key of its own, and reads each back.
func (l *load) writer(a *member) func() error {
	tried, key := 0, "drill/keys/"+a.name
	return func() error {
		tried++
		if _, err := a.ask(l.s.ctx, http.MethodPut, "/v1/kv/"+key, tried, nil); err != nil {
			return err
		}
		l.mu.Lock()
		l.acked[key] = tried
		l.mu.Unlock()
		return l.reads(a, key)
	}
}

// reads compares a key with its acknowledged value.
func (l *load) reads(m *member, key string) error {
	l.mu.Lock()
	acked := l.acked[key]
	l.mu.Unlock()
	var got int
	if _, err := m.ask(l.s.ctx, http.MethodGet, "/v1/kv/"+key+"?raw", nil, &got); err != nil {
		return err
	}
	if got < acked {
		l.fault("an acknowledged write of a key was lost: %s is %d at %s, after %d", key, got, m.name, acked)
	}
	return nil
}

// kept compares a process with the last acknowledged state.
func (l *load) kept(m *member) error {
	ids, err := l.find(m, job)
	if err != nil {
		return err
	}
	for _, a := range l.s.agents {
		l.mu.Lock()
		there, known := l.current[a]
		l.mu.Unlock()
		if id := job + "-" + a.name; known && there != slices.Contains(ids, id) {
			return fmt.Errorf("that %s is registered is %v, and %v was acknowledged", id, !there, there)
		}
		if err := l.reads(m, "drill/keys/"+a.name); err != nil {
			return err
		}
	}
	for _, service := range []string{shop, lease} {
		if err := l.absent(m, service); err != nil {
			return err
		}
	}
	return nil
}

// fault notes a promise of all drills that did not hold. There may be many of a kind: some are enough.
func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.broken) < 5 {
		l.broken = append(l.broken, fmt.Sprintf(format, args...))
	}
}

func (l *load) faults() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}
