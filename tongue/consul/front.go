package consul

import (
	"net/http"
	"time"

	"github.com/skerryhq/skerry"
)

// front is the state that all requests share until the next reload.
type front struct {
	cfg     Config
	b       Backend
	m       *Metrics
	writes  writeGate
	hinted  hinted
	asked   asked
	policy  []string // the default policy of access control
	lists   lists
	hides   bool   // objects that the caller may not see look absent
	seen    sights // of callers that do not see all
	seenKV  sights
	started time.Time
	others  others
}

func newFront(cfg Config, b Backend, m *Metrics) (*front, error) {
	f := &front{cfg: cfg.WithDefaults(), b: b, m: m, policy: aclAllow, started: time.Now()}
	if f.b.Cluster == nil {
		f.b.Cluster = skerry.Alone(skerry.Member{Self: b.Self})
	}
	if f.b.Discovery == nil {
		f.b.Discovery = skerry.Discover(b.Catalog)
	}
	if f.b.Streams == nil {
		f.b.Streams = &Streams{}
	}
	if f.b.Readers == nil {
		f.b.Readers = skerry.NoReaders{}
	}
	var err error
	if f.writes, err = newWriteGate(cfg.WriteFrom); err != nil {
		return nil, err
	}
	if g := b.Gate; g != nil {
		f.hides = g.Hides()
		if g.Default() == skerry.AccessNone {
			f.policy = aclDeny
		}
	}
	return f, nil
}

// common sets the headers of every answer.
func (f *front) common(h http.Header) {
	h["Vary"] = varyEncoding
	h["X-Consul-Default-Acl-Policy"] = f.policy
	for k, v := range f.cfg.Headers {
		h.Set(k, v)
	}
}
