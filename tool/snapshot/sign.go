package snapshot

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

// sign is the service by which others see whether snapshots are saved. Its agent may be away: that is
// logged, and tried again.
type sign struct {
	c    *api.Client
	o    Options
	id   string
	stop func()

	mu     sync.Mutex
	status string
	text   string
	known  bool
}

// The check of the service is renewed each third of its TTL.
const signTTL = 30 * time.Second

func newSign(c *api.Client, o Options) *sign {
	s := &sign{c: c, o: o, id: o.Service + "-" + time.Now().UTC().Format(stamp), stop: func() {}, status: api.HealthPassing, text: "starts"}
	if o.Service == "" {
		return s
	}
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(signTTL / 3)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.renew()
			case <-over:
				return
			}
		}
	}()
	s.stop = func() { close(over); <-ended }
	s.renew()
	return s
}

// show changes the state of the check.
func (s *sign) show(status, text string) {
	s.mu.Lock()
	s.status, s.text = status, text
	s.mu.Unlock()
	s.renew()
}

// renew registers the service where the agent does not know it, and renews its check.
func (s *sign) renew() {
	if s.o.Service == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if !s.known {
		check := &api.AgentServiceCheck{CheckID: s.id, TTL: signTTL.String(), Status: s.status}
		if s.o.DeregisterAfter > 0 {
			check.DeregisterCriticalServiceAfter = s.o.DeregisterAfter.String()
		}
		err = s.c.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: s.id, Name: s.o.Service, Check: check})
		s.known = err == nil
	}
	if s.known {
		err = s.c.Agent().UpdateTTL(s.id, s.text, s.status)
		var status api.StatusError
		if errors.As(err, &status) && status.Code == http.StatusNotFound {
			s.known = false // the agent has lost it: the next renewal registers it
		}
	}
	if err != nil {
		s.o.Log.Warn("service of the snapshot agent not renewed", "service", s.o.Service, "error", err)
	}
}

// end withdraws the service.
func (s *sign) end() {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known {
		return
	}
	if err := s.c.Agent().ServiceDeregister(s.id); err != nil {
		s.o.Log.Warn("service of the snapshot agent not withdrawn", "service", s.o.Service, "error", err)
	}
}
