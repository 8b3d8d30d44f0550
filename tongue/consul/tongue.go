// Package consul is the Consul HTTP front-end: it decodes requests, calls the
// root package's interfaces, and encodes answers as Consul 1.22 does. README.md
// lists what is answered and where it differs on purpose.
package consul

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/rescue"
)

// SpokenVersion is the version of Consul whose API this package speaks. Clients
// read it to know what they may ask for.
const SpokenVersion = "1.22.0"

// Config is what the front-end needs to know. Zero durations and sizes mean their defaults.
type Config struct {
	Datacenter   string
	NodeName     string
	NodeID       string
	BindAddr     string
	ServerAddr   string   // host:port that stands for this server in status and members
	JoinPorts    []string // ports at which this server counts as a member when it is asked to join itself
	Server       bool
	Dev          bool   // indents JSON always
	Version      string // of Skerry
	BuildDate    string
	Revision     string
	LegacyAPI    bool // old forms: GET on check/pass/ID and service/deregister/ID, Check.Script
	EnableDebug  bool // /debug/pprof
	DefaultWait  time.Duration
	MaxWait      time.Duration
	ParkAfter    time.Duration     // how long a request waits in the ordinary way before it is parked; default 250 ms
	MaxBody      int64             // bytes of a request's body; default 4 MiB
	MaxValue     int64             // bytes of a key's value; default 512 KiB
	MaxTxn       int64             // bytes of a transaction's body; default MaxValue
	Headers      map[string]string // set on every answer
	Blocked      []string          // path prefixes that answer 403
	WriteFrom    []string          // networks (CIDR) that may write; empty: all
	Translate    bool              // translate_wan_addrs: say so in a header
	MetricsOn    bool              // Prometheus form on /v1/agent/metrics
	MetricPrefix string            // of the runtime's gauges in agent/metrics: "consul" or "consul.HOST"
	NoCache      bool              // ignore ?cached
	KeyList      bool              // listing keys needs the permission "list"
	// StaleDiscovery reads catalog and health as with ?stale unless ?consistent is asked for.
	StaleDiscovery bool
	Log            *slog.Logger
}

// WithDefaults returns c with the defaults filled in.
func (c Config) WithDefaults() Config {
	if c.DefaultWait == 0 {
		c.DefaultWait = 5 * time.Minute
	}
	if c.MaxWait == 0 {
		c.MaxWait = 10 * time.Minute
	}
	if c.ParkAfter == 0 {
		c.ParkAfter = 250 * time.Millisecond
	}
	if c.MaxBody == 0 {
		c.MaxBody = 4 << 20
	}
	if c.MaxValue == 0 {
		c.MaxValue = 512 << 10
	}
	if c.MaxTxn == 0 {
		c.MaxTxn = c.MaxValue
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Backend is all that the front-end stands on.
type Backend struct {
	Catalog   skerry.Catalog
	Registrar skerry.Registrar
	Local     skerry.Local
	Leases    skerry.Leases
	External  skerry.External
	Keys      Keys
	Sessions  Sessions
	Snapshots Snapshots
	Queries   Queries
	Guard     Guard
	Gate      skerry.Gate // nil: access is not controlled
	ACL       ACL         // nil: likewise
	Tokens    AgentTokens // that this agent acts with; nil: without access control
	Audit     AuditLog    // nil: nothing is noted
	Events    Events
	Coords    Coordinates
	Process   Process
	Gatherer  prometheus.Gatherer
	// Net recovers the panics of parked requests; nil: they are not recovered.
	Net   *rescue.Net
	Lot   *Lot                   // where requests are parked that wait for long; nil: nowhere
	Roots func() (RootCA, error) // the certificate authority that mesh clients wait for
}

// Guard is the expiry guard's switch.
type Guard interface {
	Held() int
	Release() []skerry.OwnerID
}

// Process is the running agent as a whole.
type Process interface {
	// Reload reads the configuration again.
	Reload() error
	// Leave stops the process gracefully.
	Leave()
	// Follow streams log lines of at least this level to w until ctx ends. It begins
	// with an empty write: no line from then on is missed.
	Follow(ctx context.Context, level slog.Level, json bool, w io.Writer)
	// DebugConfig is the effective configuration without its secrets.
	DebugConfig() any
	// Host tells of the machine, by the names of agent/host.
	Host() map[string]any
	// Stats are counters for agent/self, by section.
	Stats() map[string]map[string]string
}

// Tongue is the front-end: an http.Handler.
type Tongue struct {
	cfg     Config
	b       Backend
	exact   map[string]*route
	prefix  map[string]*route
	m       *Metrics
	writes  writeGate
	hinted  hinted
	asked   asked
	policy  []string // of access control, for what no rule names
	lists   lists
	hides   bool   // what may not be seen looks as if it were not there
	seen    sights // of askers that do not see all
	seenKV  sights
	started time.Time
}

// New returns the front-end, which counts its requests in m.
func New(cfg Config, b Backend, m *Metrics) (*Tongue, error) {
	t := &Tongue{cfg: cfg.WithDefaults(), b: b, exact: map[string]*route{}, prefix: map[string]*route{}, m: m, started: time.Now()}
	var err error
	if t.writes, err = newWriteGate(cfg.WriteFrom); err != nil {
		return nil, err
	}
	t.hides = b.Gate != nil && b.Gate.Enabled() && b.Gate.Hides()
	t.policy = aclAllow
	if b.Gate != nil && b.Gate.Enabled() && b.Gate.Default() == skerry.AccessNone {
		t.policy = aclDeny
	}
	for i := range routes {
		r := &routes[i]
		if strings.HasSuffix(r.path, "/") {
			t.prefix[r.path] = r
		} else {
			t.exact[r.path] = r
		}
	}
	return t, nil
}

// ServeHTTP implements [http.Handler].
func (t *Tongue) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if unprintable(path) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if to, ok := cleanPath(r.URL); !ok {
		redirect(w, r, to)
		return
	}
	rt, rest := t.find(path)
	if rt == nil || rt.exactly && !slices.Contains(rt.methods, r.Method) {
		t.notFound(w, r, path)
		return
	}
	t.common(w.Header())
	started := time.Now()
	q := request{t: t, w: w, r: r, rest: rest, route: rt}
	q.audited(q.serve)
	t.m.observe(rt, time.Since(started))
}

// Changes reports whether a request may change something although it is a GET, as
// old clients send it.
func (t *Tongue) Changes(r *http.Request) bool {
	if !t.cfg.LegacyAPI || r.Method != http.MethodGet {
		return false
	}
	rt, _ := t.find(r.URL.Path)
	return rt != nil && rt.legacyGet
}

// common sets the headers of every answer.
func (t *Tongue) common(h http.Header) {
	h["Vary"] = varyEncoding
	h["X-Consul-Default-Acl-Policy"] = t.policy
	for k, v := range t.cfg.Headers {
		h.Set(k, v)
	}
}

// find returns the route of a path, and what follows a prefix route's path.
func (t *Tongue) find(path string) (*route, string) {
	if rt := t.exact[path]; rt != nil {
		return rt, ""
	}
	for end := len(path); end > 0; {
		slash := strings.LastIndexByte(path[:end], '/')
		if slash < 0 {
			break
		}
		if rt := t.prefix[path[:slash+1]]; rt != nil {
			return rt, path[slash+1:]
		}
		end = slash
	}
	return nil, ""
}

func (t *Tongue) notFound(w http.ResponseWriter, r *http.Request, path string) {
	if t.prefix[path+"/"] != nil {
		redirect(w, r, r.URL.EscapedPath()+"/")
		return
	}
	text := "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
	if strings.HasPrefix(path, "/v1/") {
		text = "Invalid URL path: not a recognized HTTP API endpoint\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	io.WriteString(w, text)
}

func unprintable(path string) bool {
	for i := range len(path) {
		if path[i] < ' ' || path[i] == 0x7f {
			return true
		}
	}
	return false
}
