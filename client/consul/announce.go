package consul

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/skerryhq/skerry/client"
)

// registration is one way of being registered.
type registration interface {
	// register announces everything.
	register(ctx context.Context) error
	// renew extends the instance's lease; it returns false when the registry no longer
	// knows the instance.
	renew(ctx context.Context) (known bool, err error)
	// withdraw ends the registration, after a drain of this time at most if that is not 0.
	withdraw(ctx context.Context, drain time.Duration) (answer []byte, err error)
}

// announcement keeps an instance registered.
type announcement struct {
	r      registration
	ttl    time.Duration
	report func(error)
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Announce implements [client.Registry].
func (s *Source) Announce(i client.Instance, ttl time.Duration, report func(error)) client.Announcement {
	ctx, cancel := context.WithCancel(context.Background())
	a := &announcement{ttl: ttl, report: report, cancel: cancel}
	if s.lease {
		a.r = &lease{api: s.api, i: i, ttl: ttl}
	} else {
		a.r = &agent{api: s.api, i: i, ttl: ttl}
	}
	a.done.Go(func() { a.run(ctx) })
	return a
}

// run registers and renews until ctx ends. An attempt that fails is made again soon:
// three fit into the time to live.
func (a *announcement) run(ctx context.Context) {
	known := false
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, a.ttl)
		var err error
		if known {
			known, err = a.r.renew(within)
		}
		if !known && err == nil {
			if err = a.r.register(within); err == nil {
				known = true
			}
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
		a.report(err)
		pause := a.ttl / 3
		if err != nil {
			pause = min(pause, time.Second)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// Withdraw implements [client.Announcement]. Skerry counts the readers; Consul withdraws the
// instance at once. The lease is not renewed meanwhile: that would register it anew.
func (a *announcement) Withdraw(ctx context.Context, drain time.Duration) (client.Withdrawal, error) {
	a.cancel()
	a.done.Wait()
	answer, err := a.r.withdraw(ctx, drain)
	if err != nil {
		return client.Withdrawal{}, unlessGone(err)
	}
	return withdrawal(answer), nil
}

// withdrawal reads the count of a drain. An answer of another form is that of a registry that does not count.
func withdrawal(answer []byte) client.Withdrawal {
	var v struct {
		Acked, Pending, Gone int
		Safe                 *bool
		Waiting              []string
	}
	if err := json.Unmarshal(answer, &v); err != nil || v.Safe == nil {
		return client.Withdrawal{}
	}
	return client.Withdrawal{Safe: *v.Safe, Counted: true, Acked: v.Acked, Pending: v.Pending, Gone: v.Gone, Waiting: v.Waiting}
}

// draining adds the time of a drain to a path.
func draining(path string, drain time.Duration) string {
	if drain <= 0 {
		return path
	}
	return path + "?drain=" + min(drain, maxDrain).String()
}

// maxDrain is the longest drain that Skerry allows.
const maxDrain = 10 * time.Minute

// service is the instance as the API takes it.
func service(i client.Instance) (map[string]any, error) {
	host, port, err := net.SplitHostPort(i.Address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	meta := maps.Clone(i.Meta)
	if meta == nil {
		meta = map[string]string{}
	}
	if i.Zone != "" {
		meta[metaZone] = i.Zone
	}
	if !i.Started.IsZero() {
		meta[metaStarted] = i.Started.UTC().Format(time.RFC3339)
	}
	s := map[string]any{"ID": i.ID, "Name": i.Service, "Address": host, "Port": number, "Tags": i.Tags, "Meta": meta}
	if i.Weight > 0 {
		s["Weights"] = map[string]int{"Passing": i.Weight, "Warning": 1}
	}
	return s, nil
}

// lease registers with the server, for as long as it beats.
type lease struct {
	api    *api
	i      client.Instance
	ttl    time.Duration
	digest string
}

func (l *lease) path() string { return "/v1/skerry/owner/" + url.PathEscape(l.i.ID) }

func (l *lease) register(ctx context.Context) error {
	s, err := service(l.i)
	if err != nil {
		return err
	}
	_, answer, err := l.api.do(ctx, http.MethodPut, l.path(), map[string]any{"Address": s["Address"], "TTL": l.ttl.String(), "Services": []any{s}})
	if err != nil {
		return err
	}
	var v struct{ Digest string }
	err = json.Unmarshal(answer, &v)
	l.digest = v.Digest
	return err
}

func (l *lease) renew(ctx context.Context) (bool, error) {
	_, answer, err := l.api.do(ctx, http.MethodPut, l.path()+"/beat?digest="+url.QueryEscape(l.digest), nil)
	if err != nil {
		return true, err
	}
	var v struct{ Answer string }
	err = json.Unmarshal(answer, &v)
	return v.Answer == "ok", err
}

func (l *lease) withdraw(ctx context.Context, drain time.Duration) ([]byte, error) {
	_, answer, err := l.api.do(ctx, http.MethodDelete, draining(l.path(), drain), nil)
	return answer, err
}

// agent registers with an agent, with a TTL check.
type agent struct {
	api *api
	i   client.Instance
	ttl time.Duration
}

// forgottenAfter is when an agent removes an instance whose program has died.
const forgottenAfter = 10 * time.Minute

func (a *agent) check() string { return "skerry:" + a.i.ID }

func (a *agent) register(ctx context.Context) error {
	s, err := service(a.i)
	if err != nil {
		return err
	}
	s["Check"] = map[string]any{
		"CheckID": a.check(), "Name": "lease of the program", "TTL": a.ttl.String(), "Status": "passing",
		"DeregisterCriticalServiceAfter": forgottenAfter.String(),
	}
	_, _, err = a.api.do(ctx, http.MethodPut, "/v1/agent/service/register?replace-existing-checks=true", s)
	return err
}

func (a *agent) renew(ctx context.Context) (bool, error) {
	_, _, err := a.api.do(ctx, http.MethodPut, "/v1/agent/check/pass/"+url.PathEscape(a.check()), nil)
	if unlessGone(err) == nil && err != nil {
		return false, nil
	}
	return true, err
}

func (a *agent) withdraw(ctx context.Context, drain time.Duration) ([]byte, error) {
	_, answer, err := a.api.do(ctx, http.MethodPut, draining("/v1/agent/service/deregister/"+url.PathEscape(a.i.ID), drain), nil)
	return answer, err
}

// unlessGone leaves out that a thing is not known.
func unlessGone(err error) error {
	var status *errStatus
	if errors.As(err, &status) && status.status == http.StatusNotFound {
		return nil
	}
	return err
}
