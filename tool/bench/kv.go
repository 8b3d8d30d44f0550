package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// valueBytes is how large the values are that the loads on keys write.
const valueBytes = 200

func keyPath(o Options, n int64) string {
	return "/v1/kv/" + o.Service + "/" + strconv.FormatInt(n, 10)
}

// value is one of valueBytes that differs from every other of the run: writing
// the same again is no write.
func value(stamp string, n int64) []byte {
	head := stamp + " " + strconv.FormatInt(n, 10) + " "
	return append([]byte(head), bytes.Repeat([]byte("v"), max(valueBytes-len(head), 0))...)
}

// KeyPut writes keys, each time another.
func KeyPut(ctx context.Context, o Options) (Result, error) {
	o = o.withDefaults()
	a := newAPI(o)
	stamp := strconv.FormatInt(time.Now().UnixNano(), 36)
	return load(ctx, "kv-put", o, func(int) (worker, error) {
		return func(ctx context.Context, n int64) error {
			return a.do(ctx, "PUT", keyPath(o, n), value(stamp, n), nil)
		}, nil
	})
}

// keysRead is how many keys KeyGet reads in turn.
const keysRead = 1000

// KeyGet reads keys, in the default consistency.
func KeyGet(ctx context.Context, o Options) (Result, error) {
	o = o.withDefaults()
	prepare := o
	prepare.Requests, prepare.PID = keysRead, 0
	if r, err := KeyPut(ctx, prepare); err != nil || r.Errors > 0 {
		return r, fmt.Errorf("write the keys that are read: %s: %w", r.FirstError, err)
	}
	a := newAPI(o)
	return load(ctx, "kv-get", o, func(int) (worker, error) {
		return func(ctx context.Context, n int64) error {
			return a.do(ctx, "GET", keyPath(o, n%keysRead), nil, nil)
		}, nil
	})
}

// KeyWatch is [Watch] for watchers of a prefix with Instances keys, one of which
// changes.
func KeyWatch(ctx context.Context, o Options) (Result, error) {
	o = o.withDefaults()
	prepare := o
	prepare.Requests, prepare.PID = o.Instances, 0
	if r, err := KeyPut(ctx, prepare); err != nil || r.Errors > 0 {
		return r, fmt.Errorf("write the keys that are watched: %s: %w", r.FirstError, err)
	}
	a := newAPI(o)
	stamp := strconv.FormatInt(time.Now().UnixNano(), 36)
	return watch(ctx, "kv-watch", o, &watchRound{api: a, path: "/v1/kv/" + o.Service + "?recurse", change: func(ctx context.Context, round int) error {
		return a.do(ctx, "PUT", keyPath(o, 0), value(stamp, int64(round)), nil)
	}})
}

// External registers distinct external services through the catalog, 100 on
// each node.
func External(ctx context.Context, o Options) (Result, error) {
	o = o.withDefaults()
	a := newAPI(o)
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	return load(ctx, "external", o, func(int) (worker, error) {
		return func(ctx context.Context, n int64) error {
			name := o.Service + "-" + run + "-" + strconv.FormatInt(n, 10)
			body, err := json.Marshal(map[string]any{
				"Node": o.Service + "-" + run + "-node-" + strconv.FormatInt(n/100, 10), "Address": "10.0.0.1",
				"Service": map[string]any{"ID": name, "Service": name, "Port": 80},
			})
			if err != nil {
				return err
			}
			return a.do(ctx, "PUT", "/v1/catalog/register", body, nil)
		}, nil
	})
}
