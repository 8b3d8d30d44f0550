package dns

import (
	"log/slog"
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/rescue"
)

// trapCatalog panics when it is asked for the service boom.
type trapCatalog struct{ *fakeCatalog }

func (c trapCatalog) Service(name string) *skerry.View {
	if skerry.Fold(name) == "boom" {
		panic("boom")
	}
	return c.fakeCatalog.Service(name)
}

// A question whose answer panics is answered with SERVFAIL, and others go on.
func TestPanicIsAnswered(t *testing.T) {
	c := basicCatalog()
	c.put(&skerry.Node{Name: "leads", Address: "10.0.0.8"}, []*skerry.Instance{{ID: "1", Service: "leads", Port: 1, Address: "boom.service.consul"}})
	cfg := DefaultConfig()
	registry := prometheus.NewRegistry()
	cfg.Registerer, cfg.Net = registry, rescue.New(slog.New(slog.DiscardHandler), registry)
	server := start(t, New(self, trapCatalog{c}, cfg))
	for range 3 {
		for question, want := range map[string]int{
			"boom.service.consul A": dns.RcodeServerFailure, "boom.service.consul SRV +tcp": dns.RcodeServerFailure, "leads.service.consul A": dns.RcodeServerFailure,
			"web.service.consul A": dns.RcodeSuccess, "web.service.consul A +tcp": dns.RcodeSuccess,
			"leads.service.consul SRV": dns.RcodeSuccess, // without the addresses that could not be found
		} {
			if got := dig(t, server, question).Rcode; got != want {
				t.Errorf("dig %s: %s, want %s", question, dns.RcodeToString[got], dns.RcodeToString[want])
			}
		}
	}
	if got := values(t, registry, "skerry_panics_total"); got != "bus 0, check 0, dns 12, http 0, parked 0" {
		t.Errorf("the panics that are counted: %s", got)
	}
}
