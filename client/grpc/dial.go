package skerrygrpc

import (
	"encoding/json"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	_ "google.golang.org/grpc/health" // clients watch the servers' health
	"google.golang.org/grpc/keepalive"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/internal/hedge"
)

// Scheme is that of the targets, skerry:///SERVICE, unless [WithScheme] adds others.
const Scheme = "skerry"

const (
	maxDelay       = 3 * time.Second
	connectWithin  = 2 * time.Second
	keepaliveEvery = 10 * time.Second
	keepaliveWait  = 2 * time.Second
	attempts       = 3
	// Retries may be a tenth of the calls, after the first fifty.
	retryTokens = 100
	retryRatio  = .1
)

// Option configures [DialOptions].
type Option func(*dialOptions)

type dialOptions struct {
	schemes []string
	config  Config
	retry   []string
	hedges  map[string]time.Duration
	foreign bool
}

// WithScheme finds targets of this scheme through the client too.
func WithScheme(scheme string) Option {
	return func(o *dialOptions) { o.schemes = append(o.schemes, scheme) }
}

// WithConfig configures the balancer.
func WithConfig(c Config) Option { return func(o *dialOptions) { o.config = c } }

// Retry makes calls of these methods again, at another instance, when they fail as
// UNAVAILABLE: two times at most, and for a tenth of the calls. The methods must be
// idempotent: a call that failed may have been carried out. A method is written
// orders.v1.Orders/Get, a whole service orders.v1.Orders.
func Retry(methods ...string) Option {
	return func(o *dialOptions) { o.retry = append(o.retry, methods...) }
}

// WithForeignServers is for servers that do not have [ServerOptions] and are not started
// by [Serve]: gRPC servers close connections that are pinged more often than every five
// minutes unless they are configured to bear it. Pings are off then, so that a connection
// that has silently died is noticed by failing calls, and health is not watched.
func WithForeignServers() Option { return func(o *dialOptions) { o.foreign = true } }

// DialOptions returns the options for [grpc.NewClient] to call services by name through a
// client: the resolver, the balancer, reconnects within 3 s, pings after 10 s of silence
// that must be answered in 2 s. Transport credentials are the caller's to add. Instances
// are connected to directly, whatever HTTPS_PROXY says.
func DialOptions(c *client.Client, opts ...Option) []grpc.DialOption {
	o := newDialOptions(opts)
	dial := o.dialOptions()
	for _, scheme := range append(o.schemes, Scheme) {
		dial = append(dial, grpc.WithResolvers(NewBuilder(c, scheme)))
	}
	return dial
}

func newDialOptions(opts []Option) *dialOptions {
	o := &dialOptions{hedges: map[string]time.Duration{}}
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// dialOptions returns all but the resolver.
func (o *dialOptions) dialOptions() []grpc.DialOption {
	reconnect := backoff.DefaultConfig
	reconnect.MaxDelay = maxDelay
	dial := []grpc.DialOption{
		grpc.WithDefaultServiceConfig(o.serviceConfig()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: connectWithin}),
		grpc.WithUserAgent("skerry-client"),
		grpc.WithNoProxy(),
	}
	if !o.foreign {
		dial = append(dial, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveEvery, Timeout: keepaliveWait}))
	}
	retryable := methods{}
	for _, m := range o.retry {
		retryable[wholeMethod(m)] = true
	}
	return append(dial, interceptors(retryable, &hedger{o.hedges, hedge.Budget()})...)
}

// serviceConfig returns the service config's JSON.
func (o *dialOptions) serviceConfig() string {
	type dict = map[string]any
	config := dict{"loadBalancingConfig": []dict{{Balancer: o.config}}}
	if !o.foreign {
		config["healthCheckConfig"] = dict{"serviceName": ""}
	}
	if len(o.retry) > 0 {
		var names []dict
		for _, m := range o.retry {
			service, method := splitMethod(m)
			names = append(names, dict{"service": service, "method": method})
		}
		config["methodConfig"] = []dict{{"name": names, "retryPolicy": dict{
			"maxAttempts": attempts, "initialBackoff": "0.01s", "maxBackoff": "0.1s", "backoffMultiplier": 2,
			"retryableStatusCodes": []string{"UNAVAILABLE"},
		}}}
		config["retryThrottling"] = dict{"maxTokens": retryTokens, "tokenRatio": retryRatio}
	}
	text, err := json.Marshal(config)
	if err != nil {
		panic(err) // there is nothing in it that JSON cannot say
	}
	return string(text)
}

// wholeMethod returns a method as gRPC writes it, or a service with a slash at the end.
func wholeMethod(name string) string {
	service, method := splitMethod(name)
	return "/" + service + "/" + method
}

// splitMethod takes service/method apart, with or without a slash before it.
func splitMethod(name string) (service, method string) {
	service, method, _ = strings.Cut(strings.TrimPrefix(name, "/"), "/")
	return service, method
}
