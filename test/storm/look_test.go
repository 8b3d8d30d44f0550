//go:build linux

package storm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
)

// lookup asks an agent for a service, and returns the ids of the instances that it shows. complete: it shows all.
type lookup struct {
	kind     string
	complete bool
	pause    time.Duration
	ask      func(ctx context.Context, a *agent, service string) (ids []string, err error)
}

const (
	// lookWithin is how long a client waits for an answer, but for a change. The machine may be busy: how long the slowest took is told.
	lookWithin = 10 * time.Second
	// waitFor is how long a blocking query waits for a change.
	waitFor = time.Second
)

// look asks an agent for a service again and again. It notes questions that fail, and what is missing that was there before.
func (s *storm) look(a *agent, service string, l lookup) {
	what := l.kind + " " + service
	complete := l.complete && service != "shop" // programs with leases are judged by what servers show
	shown := map[string]time.Time{}             // since when
	life := a.lives()
	for ; s.ctx.Err() == nil; rest(s.ctx, l.pause) {
		ctx, cancel := context.WithTimeout(s.ctx, lookWithin+waitFor)
		began := time.Now()
		ids, err := l.ask(ctx, a, service)
		done := time.Now()
		cancel()
		if s.ctx.Err() != nil {
			return
		}
		s.record.asked(call{a.host, what, began, done, err, l.pause == 0})
		if now := a.lives(); now != life {
			// It was killed. The next life may know what was on disk.
			life = now
			for id, since := range shown {
				if began.Sub(since) < copied {
					delete(shown, id)
				}
			}
			continue
		}
		if err != nil {
			continue
		}
		if len(ids) == 0 && len(shown) > 0 {
			s.record.misses(missing{a.host, what, "", began, done})
		}
		for id := range shown {
			if complete && !slices.Contains(ids, id) {
				s.record.misses(missing{a.host, what, id, began, done})
				delete(shown, id)
			}
		}
		for _, id := range ids {
			if _, ok := shown[id]; !ok {
				shown[id] = done
			}
		}
	}
}

// plain asks over HTTP.
func plain() lookup {
	return lookup{"GET", true, 70 * time.Millisecond, func(ctx context.Context, a *agent, service string) (ids []string, err error) {
		ids, _, err = a.instances(ctx, service, "")
		return ids, err
	}}
}

// blocking waits for a change of what it was answered last.
func blocking() lookup {
	index := ""
	return lookup{"GET blocking", true, 0, func(ctx context.Context, a *agent, service string) (ids []string, err error) {
		ids, index, err = a.instances(ctx, service, "?wait="+waitFor.String()+"&index="+index)
		if err != nil {
			rest(ctx, 50*time.Millisecond)
		}
		return ids, err
	}}
}

// instances returns the ids of a service's instances, and the index of the answer.
func (p *process) instances(ctx context.Context, service, query string) (ids []string, index string, err error) {
	var found []struct{ Service struct{ ID string } }
	header, err := p.exchange(ctx, "GET", "/v1/health/service/"+service+query, nil, &found)
	if err != nil {
		return nil, "", err
	}
	for _, f := range found {
		ids = append(ids, f.Service.ID)
	}
	return ids, header.Get("X-Consul-Index"), nil
}

// resolved asks by DNS. An answer over UDP may be shortened.
func (s *storm) resolved(network string) lookup {
	ask := func(ctx context.Context, a *agent, service string) (ids []string, err error) {
		ctx, cancel := context.WithTimeout(ctx, lookWithin)
		defer cancel()
		r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return a.dial(ctx, network, "127.0.0.1:8600")
		}}
		_, found, err := r.LookupSRV(ctx, "", "", service+".service.consul.")
		var none *net.DNSError
		if errors.As(err, &none) && none.IsNotFound {
			return nil, nil
		}
		for _, f := range found {
			ids = append(ids, s.idOf(int(f.Port)))
		}
		return ids, err
	}
	return lookup{fmt.Sprintf("DNS (%s)", network), network == "tcp", 300 * time.Millisecond, ask}
}
