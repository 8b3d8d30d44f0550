package dns

import (
	"testing"
	"time"

	"github.com/miekg/dns"
)

// While the catalog is not settled, questions about the zone wait.
func TestQuestionsWaitForASettledCatalog(t *testing.T) {
	cfg, settled := DefaultConfig(), make(chan struct{})
	cfg.Settled = settled
	server := start(t, New(self, basicCatalog(), cfg))
	answered := make(chan int, 1)
	go func() {
		m := new(dns.Msg)
		m.SetQuestion("web.service.consul.", dns.TypeA)
		r, _, err := (&dns.Client{Timeout: time.Minute}).Exchange(m, server)
		if err != nil {
			t.Error(err)
			r = m
		}
		answered <- len(r.Answer)
	}()
	select {
	case n := <-answered:
		t.Errorf("answered with %d records", n)
	case <-time.After(50 * time.Millisecond):
	}
	close(settled)
	if n := <-answered; n == 0 {
		t.Error("answered with nothing")
	}
}
