// Package figures defines the metrics of a client, once for all exporters:
// client/prometheus and client/otel.
package figures

import (
	"iter"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/lb"
)

// Figure is a metric.
type Figure struct {
	// Name is in OpenTelemetry's form; Prometheus's is the same with underscores, and
	// the unit.
	Name string
	// Unit is one of UCUM's: s, 1, {call} and so on.
	Unit string
	Help string
	// Counter figures only grow; the others are gauges.
	Counter bool
	// Labels are the names of a Point's labels.
	Labels []string
}

// Point is a figure's value.
type Point struct {
	*Figure
	Labels []string // in the order of Figure.Labels
	Value  float64
}

var (
	perService  = []string{"client", "service"}
	perInstance = []string{"client", "service", "balancer", "instance"}

	live      = &Figure{"skerry.client.list.live", "1", "Whether the list of instances is the registry's present one (1), or an older one (0)", false, perService}
	instances = &Figure{"skerry.client.list.instances", "{instance}", "Instances in the list, held ones among them", false, perService}
	held      = &Figure{"skerry.client.list.held", "{instance}", "Instances that the registry no longer names, without proof that they are gone", false, perService}
	confirmed = &Figure{"skerry.client.list.confirmed", "s", "When the registry confirmed the list last, in seconds since 1970", false, perService}

	registered = &Figure{"skerry.client.registered", "1", "Whether an instance of this program is registered", false, []string{"client", "service", "instance"}}

	calls    = &Figure{"skerry.client.calls", "{call}", "Calls by how they ended: ok, failed, pushback or neutral", true, append(perInstance[:len(perInstance):len(perInstance)], "result")}
	inFlight = &Figure{"skerry.client.in_flight", "{call}", "Calls without an answer", false, perInstance}
	share    = &Figure{"skerry.client.share", "1", "Part of the calls of the last minute or so, 0 to 1", false, perInstance}
	cost     = &Figure{"skerry.client.cost", "s", "The cost by which the next call is judged, less being better", false, perInstance}
	latency  = &Figure{"skerry.client.latency", "s", "Recent latency, rising at once and falling slowly", false, perInstance}
	success  = &Figure{"skerry.client.success", "1", "Recent part of the calls that did not fail, 0 to 1", false, perInstance}
	ready    = &Figure{"skerry.client.ready", "1", "Part of its share that an instance takes, less than 1 while it is new or has just returned", false, perInstance}
	out      = &Figure{"skerry.client.out", "1", "Whether an instance is out because it failed, and the cause: consecutive_failures, failure_rate, relapse or no_answer", false, append(perInstance[:len(perInstance):len(perInstance)], "cause")}
	down     = &Figure{"skerry.client.down", "1", "Whether there is no connection to an instance", false, perInstance}
	ejected  = &Figure{"skerry.client.ejections", "{ejection}", "How often an instance was taken out", true, perInstance}
)

// All are all figures.
var All = []*Figure{live, instances, held, confirmed, registered, calls, inFlight, share, cost, latency, success, ready, out, down, ejected}

// Of yields the values of all figures.
func Of(g *client.Group) iter.Seq[Point] {
	return func(yield func(Point) bool) {
		more := true
		emit := func(f *Figure, value float64, labels ...string) {
			more = more && yield(Point{f, labels, value})
		}
		for _, m := range g.Explain() {
			for i := range m.Services {
				ofService(emit, m.Name, &m.Services[i])
			}
			for _, r := range m.Registrations {
				emit(registered, truth(r.Registered), m.Name, r.Instance.Service, r.Instance.ID)
			}
			if !more {
				return
			}
		}
	}
}

type emitter func(f *Figure, value float64, labels ...string)

func ofService(emit emitter, of string, s *client.ServiceState) {
	if s.Known {
		emit(live, truth(s.Freshness == client.Live), of, s.Service)
		emit(instances, float64(len(s.Instances)), of, s.Service)
		emit(held, float64(s.Held), of, s.Service)
		emit(confirmed, float64(s.Since.UnixMilli())/1000, of, s.Service)
	}
	for _, b := range s.Balancers {
		for i := range b.Instances {
			ofInstance(emit, &b.Instances[i], of, s.Service, b.Name, b.Instances[i].Key)
		}
	}
}

func ofInstance(emit emitter, i *lb.State, labels ...string) {
	with := func(label string) []string { return append(labels[:len(labels):len(labels)], label) }
	emit(calls, float64(i.OK), with("ok")...)
	emit(calls, float64(i.Failed), with("failed")...)
	emit(calls, float64(i.Pushback), with("pushback")...)
	emit(calls, float64(i.Neutral), with("neutral")...)
	emit(inFlight, float64(i.InFlight), labels...)
	emit(share, i.Share, labels...)
	emit(cost, i.Cost.Seconds(), labels...)
	emit(latency, i.Latency.Seconds(), labels...)
	emit(success, i.Success, labels...)
	emit(ready, i.Ready, labels...)
	emit(down, truth(i.Down), labels...)
	emit(ejected, float64(i.Ejected), labels...)
	cause := ""
	if i.Out {
		cause = string(i.Cause)
	}
	emit(out, truth(i.Out), with(cause)...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
