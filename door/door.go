package door

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/rescue"
)

// Config configures a [Door]. An address is host:port or unix:///path.
type Config struct {
	HTTP  []string
	HTTPS []string
	DNS   []string // host:port; UDP and TCP
	Unix  UnixSocket
	TLS   TLS
	// Handshake bounds the time of a TLS handshake; 0: 10 s, as for the head of a request.
	Handshake time.Duration
	Limits    Limits
	// Agents means that this process also listens for agents and other servers. They have a part of the open-file limit.
	Agents bool
}

// Front is the handlers behind a [Door].
type Front struct {
	HTTP http.Handler
	// Changes reports whether a GET changes something.
	Changes func(*http.Request) bool
	// DNS answers questions on a pair of sockets until ctx ends; nil without DNS addresses.
	DNS   func(ctx context.Context, packets net.PacketConn, streams net.Listener) error
	Audit skerry.AuditLog // nil: no audit log
	Net   *rescue.Net     // recovers panics; nil: they are not recovered
}

// Door listens for clients, holds them to the limits, and passes their requests on.
type Door struct {
	cfg     Config
	log     *slog.Logger
	reg     prometheus.Registerer
	intake  *intake
	refused *prometheus.CounterVec // of [Budget]
	back    *returned
	site    *Site
	addrs   Addrs
	lists   listeners
	rereads []func() error // of the authorities of client certificates, by listener
}

// New returns a door that does not listen yet. Its metrics are registered with reg.
func New(cfg Config, reg prometheus.Registerer, log *slog.Logger) *Door {
	cfg.Limits = cfg.Limits.withDefaults()
	d := &Door{cfg: cfg, log: log, reg: reg, intake: newIntake(shareFiles(fileLimit(), cfg.Agents), log), refused: newRefused(reg), back: newReturned()}
	d.site = NewSite(reg, log)
	reg.MustRegister(d.intake.closed,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "skerry_connections", Help: "Connections of clients: HTTP, HTTPS and DNS over TCP.",
		}, d.intake.count),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "skerry_connections_limit", Help: "The most connections of all clients: their share of the open-file limit.",
		}, func() float64 { return float64(d.intake.shares.Clients) }))
	return d
}

// Shares returns how the open-file limit is divided.
func (d *Door) Shares() Shares { return d.intake.shares }

// SetHosts replaces the host names that a browser may use.
func (d *Door) SetHosts(h Hosts) { d.site.Set(h) }

// Reload reads the authorities of client certificates again. After an error the ones before stay.
func (d *Door) Reload() error {
	for _, reread := range d.rereads {
		if err := reread(); err != nil {
			return err
		}
	}
	return nil
}

// Return serves the next request on a connection whose last one was answered outside of
// net/http.
func (d *Door) Return(c net.Conn) { d.back.put(c) }

// Run passes requests to the front until ctx ends or a listener fails. Requests under way
// are cut off soon after ctx ends. Run may be called once, after Listen.
func (d *Door) Run(ctx context.Context, f Front) error {
	g, ctx := errgroup.WithContext(ctx)
	web := newHTTPServer(d.chain(f), d.cfg.Limits, d.intake, d.log)
	for _, l := range append(d.lists.http, d.back) {
		g.Go(func() error { return web.serve(l) })
	}
	for i := range d.lists.packets {
		g.Go(func() error { return f.DNS(ctx, d.lists.packets[i], d.lists.streams[i]) })
	}
	g.Go(func() error {
		<-ctx.Done()
		web.stop()
		return nil
	})
	return g.Wait()
}

// chain returns the front's HTTP handler behind the door's own handlers.
func (d *Door) chain(f Front) http.Handler {
	h := d.site.Guard(f.HTTP, f.Changes)
	h = NewBudget(h, d.cfg.Limits.streams(), d.refused)
	return Rescue(noteDoor(limitRate(h, d.cfg.Limits), f.Audit), f.Net)
}

// Close closes the sockets of a door that was not run.
func (d *Door) Close() { d.lists.close() }
