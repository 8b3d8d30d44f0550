package skerrygrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/lb"
)

func TestParseConfig(t *testing.T) {
	for _, tc := range []struct {
		text string
		want Config
		err  string // a part of it
	}{
		{`{}`, Config{}, ""},
		{`{"decay":"10s","choices":3,"subset":16,"slowStart":"1m","zone":"a","clientID":"web-1","maxEjected":0.3}`,
			Config{Decay: 10 * time.Second, Choices: 3, Subset: 16, SlowStart: time.Minute, Zone: "a", ClientID: "web-1", MaxEjected: .3}, ""},
		{`{"slowStart":"0s","subset":-1,"unheardOf":true}`, Config{SlowStart: -1, Subset: -1}, ""},
		{`{"decay":"-1s"}`, Config{}, "decay"},
		{`{"decay":"fast"}`, Config{}, `decay is "fast"`},
		{`{"choices":1}`, Config{}, "choices is 1: want 2 to 8"},
		{`{"subset":-2}`, Config{}, "subset"},
		{`{"maxEjected":1.5}`, Config{}, "maxEjected"},
		{`{"zone":1}`, Config{}, "zone"},
		{`[]`, Config{}, "array"},
	} {
		got, err := policy{}.ParseConfig(json.RawMessage(tc.text))
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want one with %q", tc.text, err, tc.err)
			}
			continue
		}
		if err != nil || got.(*parsed).Config != tc.want {
			t.Errorf("%s: %+v, %v, want %+v", tc.text, got, err, tc.want)
			continue
		}
		text, err := json.Marshal(tc.want)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := (policy{}).ParseConfig(text); err != nil || again.(*parsed).Config != tc.want {
			t.Errorf("written as %s it is read as %+v, %v", text, again, err)
		}
	}
}

func TestClassify(t *testing.T) {
	want := map[codes.Code]lb.Result{
		codes.Unavailable: lb.Failed, codes.DeadlineExceeded: lb.Failed, codes.Internal: lb.Failed, codes.DataLoss: lb.Failed, codes.Unknown: lb.Failed,
		codes.ResourceExhausted: lb.Pushback,
		codes.Canceled:          lb.Neutral, codes.Unimplemented: lb.Neutral, codes.NotFound: lb.Neutral,
		codes.OK: lb.OK, codes.InvalidArgument: lb.OK, codes.AlreadyExists: lb.OK, codes.PermissionDenied: lb.OK, codes.Unauthenticated: lb.OK,
		codes.FailedPrecondition: lb.OK, codes.Aborted: lb.OK, codes.OutOfRange: lb.OK,
	}
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		r, known := want[code]
		if got := classify(&balancer.DoneInfo{Err: status.Error(code, ""), BytesSent: true}); !known || got != r {
			t.Errorf("%v: %v, want %v", code, got, r)
		}
	}
	if got := classify(&balancer.DoneInfo{}); got != lb.Neutral {
		t.Errorf("a call that was never sent: %v", got)
	}
	if got := classify(&balancer.DoneInfo{Err: errors.New("broken"), BytesSent: true}); got != lb.Failed {
		t.Errorf("an error without a code: %v", got)
	}
}

// idle is a balancer that no gRPC is behind.
func idle(c Config) *p2c { return &p2c{config: c, began: time.Now(), started: map[string]start{}} }

func endpoints(instances ...client.Instance) []resolver.Endpoint {
	return stateOf(&client.Snapshot{Instances: instances}).Endpoints
}

func TestSubset(t *testing.T) {
	var many []client.Instance
	for i := range 150 {
		many = append(many, client.Instance{ID: fmt.Sprint("i", i), Address: fmt.Sprintf("10.0.0.%d:80", i), Draining: i >= 140})
	}
	for _, tc := range []struct {
		c        Config
		position float64
		want     int
	}{
		{Config{}, 0, 150}, // a caller without a name
		{Config{}, .3, 150},
		{Config{ClientID: "web-1"}, 0, 32 + 10},
		{Config{ClientID: "web-1"}, .3, 32 + 10},
		{Config{ClientID: "web-1", Subset: 5}, 0, 5 + 10},
		{Config{ClientID: "web-1", Subset: -1}, .3, 150},
		{Config{Subset: 5}, 0, 150},
		{Config{Subset: 5}, .3, 5 + 10},
	} {
		b := idle(tc.c)
		b.position = tc.position
		got := b.choose(endpoints(many...))
		if len(got) != tc.want || len(b.started) != 150 {
			t.Errorf("%+v: %d of %d endpoints, want %d", tc.c, len(got), len(b.started), tc.want)
		}
	}
}

// The clock of an instance's host may be wrong: one that registered in the future has
// just done so, and that stays.
func TestStarted(t *testing.T) {
	b := idle(Config{})
	b.began = time.Now().Add(-time.Hour)
	i := client.Instance{ID: "a", Address: "a:1", Started: time.Now().Add(time.Hour)}
	b.choose(endpoints(i))
	first := b.started["a"].at
	if first < time.Hour || first > time.Hour+time.Minute {
		t.Errorf("it started at %v, want now", first)
	}
	b.began = b.began.Add(-time.Hour)
	b.choose(endpoints(i))
	if again := b.started["a"].at; again != first {
		t.Errorf("after another list it started at %v, not %v", again, first)
	}
	i.Started = time.Now().Add(-30 * time.Minute)
	b.choose(endpoints(i))
	if now := b.started["a"].at; now < 89*time.Minute || now > 91*time.Minute {
		t.Errorf("registered 30 minutes ago on a clock at two hours, it started at %v", now)
	}
}

// The picker knows of instances what the registry does.
func TestNodes(t *testing.T) {
	b := idle(Config{})
	b.began = time.Now().Add(-time.Hour)
	children := func(a, z connectivity.State) (all []endpointsharding.ChildState) {
		list := endpoints(client.Instance{ID: "1", Address: "a:1", Zone: "a", Weight: 3, Started: b.began.Add(time.Minute)},
			client.Instance{ID: "2", Address: "z:1", Draining: true})
		b.choose(list)
		for i, s := range []connectivity.State{a, z} {
			all = append(all, endpointsharding.ChildState{Endpoint: list[i], State: balancer.State{ConnectivityState: s}})
		}
		return all
	}
	for _, tc := range []struct {
		a, z         connectivity.State
		aDown, zDown bool
		ready        bool
	}{
		{connectivity.Ready, connectivity.Ready, false, true, true},
		{connectivity.Idle, connectivity.Ready, true, false, true},
		{connectivity.Ready, connectivity.TransientFailure, false, true, true},
		{connectivity.Connecting, connectivity.Idle, true, true, false},
	} {
		got, ready := b.nodes(children(tc.a, tc.z))
		want := []lb.Node{{Key: "1", Zone: "a", Weight: 3, Started: time.Minute, Down: tc.aDown}, {Key: "2", Down: tc.zDown}}
		for i := range want {
			got[i].Value, want[i].Value = nil, nil
		}
		if !slices.Equal(got, want) || ready != tc.ready {
			t.Errorf("%v, %v: %+v, ready %v, want %+v", tc.a, tc.z, got, ready, want)
		}
	}
	other := []endpointsharding.ChildState{{Endpoint: resolver.Endpoint{Addresses: []resolver.Address{{Addr: "c:1"}}}}}
	if got, _ := b.nodes(other); got[0].Key != "c:1" {
		t.Errorf("another resolver's endpoint is %+v", got)
	}
}

func TestServiceConfig(t *testing.T) {
	c, _ := newClient(t)
	o := dialOptions{config: Config{Zone: "a"}, retry: []string{"/a.B/Get", "a.C"}}
	want := `{"healthCheckConfig":{"serviceName":""},"loadBalancingConfig":[{"skerry_p2c":{"zone":"a"}}],` +
		`"methodConfig":[{"name":[{"method":"Get","service":"a.B"},{"method":"","service":"a.C"}],` +
		`"retryPolicy":{"backoffMultiplier":2,"initialBackoff":"0.01s","maxAttempts":3,"maxBackoff":"0.1s","retryableStatusCodes":["UNAVAILABLE"]}}],` +
		`"retryThrottling":{"maxTokens":100,"tokenRatio":0.1}}`
	if got := o.serviceConfig(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	dial(t, c, WithConfig(o.config), Retry(o.retry...)) // gRPC takes it
	if o = (dialOptions{foreign: true}); strings.Contains(o.serviceConfig(), "health") {
		t.Errorf("health is watched on foreign servers: %s", o.serviceConfig())
	}
	for method, want := range map[string]bool{"/a.B/Get": true, "/a.B/Put": false, "/a.C/Put": true, "/a.CD/Put": false} {
		if got := (methods{"/a.B/Get": true, "/a.C/": true}).has(method); got != want {
			t.Errorf("%s may be retried: %v", method, got)
		}
	}
}

// Each attempt of a call avoids the instances of those before.
func TestTried(t *testing.T) {
	c := &call{retryable: true}
	if r, first := c.request(); !first || r.Exclude != nil || r.Stream {
		t.Errorf("the first attempt: %+v, %v", r, first)
	}
	c.try("a")
	c.try("b")
	r, first := c.request()
	if first || !r.Exclude(&lb.Node{Key: "a"}) || !r.Exclude(&lb.Node{Key: "b"}) || r.Exclude(&lb.Node{Key: "c"}) {
		t.Errorf("after a and b: first %v", first)
	}
	if callOf(context.Background()) != nil {
		t.Error("a call without interceptors has a call")
	}
}
