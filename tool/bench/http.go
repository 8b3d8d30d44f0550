package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// api is a keep-alive client of the HTTP API. It shares the machine with the registry, so
// it is a cheap one.
type api struct {
	token  string
	client *fasthttp.HostClient
}

func newAPI(o Options) *api {
	return &api{token: o.Token, client: &fasthttp.HostClient{
		Addr: o.HTTP, MaxConns: 1 << 20, NoDefaultUserAgentHeader: true,
		DisablePathNormalizing: true, DisableHeaderNamesNormalizing: true,
		// A request that failed counts as one that failed.
		RetryIfErr: func(*fasthttp.Request, int, error) (bool, bool) { return false, false },
	}}
}

// answerWithin is how long a request may take, unless its context ends earlier.
const answerWithin = 2 * time.Minute

// do sends a request and gives its answer to read, which may be nil; a status
// other than 200 is an error.
func (a *api) do(ctx context.Context, method, path string, body []byte, read func(*fasthttp.Response) error) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI(path)
	req.Header.SetMethod(method)
	req.Header.SetHost(a.client.Addr)
	if a.token != "" {
		req.Header.Set("X-Consul-Token", a.token)
	}
	req.SetBodyRaw(body)
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(answerWithin)
	}
	if err := a.client.DoDeadline(req, resp, deadline); err != nil {
		if ok && !time.Now().Before(deadline) {
			<-ctx.Done() // its timer may be late: the caller asks the context for the cause
		}
		return err
	}
	if resp.StatusCode() != fasthttp.StatusOK {
		text := resp.Body()
		return fmt.Errorf("%s %s: %d: %s", method, path, resp.StatusCode(), text[:min(len(text), 200)])
	}
	if read == nil {
		return nil
	}
	return read(resp)
}

func registration(name, id string, port int) []byte {
	b, _ := json.Marshal(map[string]any{
		"Name": name, "ID": id, "Port": port, "Address": "10.0.0.1", "Tags": []string{"bench"},
		"Check": map[string]any{"CheckID": "ttl-" + id, "TTL": "10m", "Status": "passing"},
	})
	return b
}

// prepare registers the service that is read.
func prepare(ctx context.Context, a *api, o Options) error {
	for i := range o.Instances {
		id := o.Service + "-" + strconv.Itoa(i)
		if err := a.do(ctx, "PUT", "/v1/agent/service/register", registration(o.Service, id, 8000+i), nil); err != nil {
			return err
		}
	}
	return settle(ctx, a, o)
}

// settle waits until the catalog shows all instances.
func settle(ctx context.Context, a *api, o Options) error {
	for {
		var list []json.RawMessage
		err := a.do(ctx, "GET", "/v1/health/service/"+o.Service+"?passing", nil, func(r *fasthttp.Response) error {
			return json.Unmarshal(r.Body(), &list)
		})
		if err != nil || len(list) >= o.Instances {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Register registers distinct services, each with a TTL check.
func Register(ctx context.Context, o Options) (Result, error) {
	o = o.withDefaults()
	a := newAPI(o)
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	return load(ctx, "register", o, func(int) (worker, error) {
		return func(ctx context.Context, n int64) error {
			name := o.Service + "-" + run + "-" + strconv.FormatInt(n, 10)
			return a.do(ctx, "PUT", "/v1/agent/service/register", registration(name, name, 80), nil)
		}, nil
	})
}

// Health asks for the passing instances of a service.
func Health(ctx context.Context, o Options) (Result, error) {
	o = o.withDefaults()
	a := newAPI(o)
	if err := prepare(ctx, a, o); err != nil {
		return Result{}, err
	}
	return Get(ctx, o, "/v1/health/service/"+o.Service+"?passing")
}

// Get asks for one path again and again, on connections that are kept.
func Get(ctx context.Context, o Options, path string) (Result, error) {
	o = o.withDefaults()
	a := newAPI(o)
	return load(ctx, "health", o, func(int) (worker, error) {
		return func(ctx context.Context, _ int64) error {
			return a.do(ctx, "GET", path, nil, nil)
		}, nil
	})
}

// Beat refreshes the TTL checks of the service's instances in turn.
func Beat(ctx context.Context, o Options) (Result, error) {
	o = o.withDefaults()
	a := newAPI(o)
	if err := prepare(ctx, a, o); err != nil {
		return Result{}, err
	}
	return BeatOnly(ctx, o)
}

// BeatOnly refreshes TTL checks that Beat has registered before.
func BeatOnly(ctx context.Context, o Options) (Result, error) {
	o = o.withDefaults()
	a := newAPI(o)
	return load(ctx, "beat", o, func(int) (worker, error) {
		return func(ctx context.Context, n int64) error {
			id := "ttl-" + o.Service + "-" + strconv.FormatInt(n%int64(o.Instances), 10)
			return a.do(ctx, "PUT", "/v1/agent/check/pass/"+id, nil, nil)
		}, nil
	})
}

// Watch lets Concurrency watchers block on one service and changes it again and
// again. A latency is the time from the start of a write until a watcher has the
// new answer; a round is over when all have it, and Last is about the last of each
// round. Requests counts rounds; 0 means 20.
func Watch(ctx context.Context, o Options) (Result, error) {
	o = o.withDefaults()
	a := newAPI(o)
	if err := prepare(ctx, a, o); err != nil {
		return Result{}, err
	}
	return watch(ctx, "watch", o, &watchRound{api: a, path: "/v1/health/service/" + o.Service + "?passing", change: func(ctx context.Context, round int) error {
		return a.do(ctx, "PUT", "/v1/agent/service/register", registration(o.Service, o.Service+"-0", 9000+round), nil)
	}})
}

// watch runs the rounds of a load on watchers.
func watch(ctx context.Context, name string, o Options, w *watchRound) (Result, error) {
	rounds := o.Requests
	if rounds == 0 {
		rounds = 20
	}
	w.watchers, w.answered = o.Concurrency, make(chan error, o.Concurrency)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// The first round opens the connections; it does not count.
	if err := w.run(ctx, rounds, &recorder{}); err != nil {
		return Result{}, err
	}
	cpu, err := CPU(o.PID)
	if err != nil {
		return Result{}, err
	}
	r, last := &recorder{}, &recorder{}
	start := time.Now()
	for round := range rounds {
		if err := w.run(ctx, round, r); err != nil {
			return Result{}, err
		}
		last.add(time.Duration(w.last.Load()))
	}
	res := r.result(name, time.Since(start))
	res.LastP50, res.LastP99 = last.quantile(.5), last.quantile(.99)
	if after, err := CPU(o.PID); err == nil && o.PID != 0 {
		res.CPUPerRequest = float64((after - cpu).Microseconds()) / float64(max(res.Requests, 1))
	}
	return res, nil
}

type watchRound struct {
	api      *api
	path     string // the watched path, with its query
	change   func(ctx context.Context, round int) error
	watchers int
	answered chan error
	began    atomic.Int64 // of the write, in Unix nanoseconds; 0 before it
	last     atomic.Int64 // the longest latency of the round, in nanoseconds
}

func (w *watchRound) run(ctx context.Context, round int, r *recorder) error {
	var index string
	if err := w.api.do(ctx, "GET", w.path, nil, func(r *fasthttp.Response) error {
		index = string(r.Header.Peek("X-Consul-Index"))
		return nil
	}); err != nil {
		return err
	}
	w.began.Store(0)
	w.last.Store(0)
	for range w.watchers {
		go func() {
			err := w.api.do(ctx, "GET", w.path+"&wait=60s&index="+index, nil, nil)
			if began := w.began.Load(); err == nil && began > 0 {
				took := time.Now().UnixNano() - began
				r.add(time.Duration(took))
				storeMax(&w.last, took)
			} else if err == nil {
				err = fmt.Errorf("a watcher was answered before the change")
			}
			w.answered <- err
		}()
	}
	// All must wait before the change; their number cannot be seen from outside.
	select {
	case <-time.After(300*time.Millisecond + time.Duration(w.watchers)*200*time.Microsecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	w.began.Store(time.Now().UnixNano())
	if err := w.change(ctx, round); err != nil {
		return err
	}
	for range w.watchers {
		if err := <-w.answered; err != nil {
			return err
		}
	}
	return nil
}
