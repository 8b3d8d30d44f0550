//go:build linux

package storm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skerryhq/skerry/test/program"
)

// Five servers in three sites, and the third site is cut off: its services still register,
// scale and are found there, and nothing that was known is lost there. The others go on
// with keys too. When the network is whole, all show the same.
func TestThreeSitesTheThirdIsCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("a storm takes a minute")
	}
	s := begin(t, options{servers: 5})
	sites := [][]int{{0, 1}, {2, 3}, {4}}
	third := s.servers[4]
	known, _ := s.living()
	l := s.load(true)
	rest(s.ctx, 2*time.Second)
	heal := s.split(sites[2])
	began := time.Now()

	// It registers and scales on both sides, by leases and by the servers' agents.
	var scaled []string
	for range 3 {
		scaled = append(scaled, s.add(site(4), sites[2]).id)
	}
	elsewhere := s.add("shop", slices.Concat(sites[0], sites[1])).id
	agent := &api.AgentServiceRegistration{ID: "born-in-3", Name: "born", Port: 9000}
	if err := third.client.Agent().ServiceRegister(agent); err != nil {
		t.Errorf("the site that is cut off takes no registration: %v", err)
	}
	s.finds(third, site(4), scaled...)
	s.finds(third, "born", "born-in-3")
	s.resolves(third, "born", 1)
	for _, server := range s.servers[:4] {
		s.finds(server, "shop", elsewhere)
	}
	if err := third.client.Agent().ServiceDeregister("born-in-3"); err != nil {
		t.Errorf("the site that is cut off withdraws nothing: %v", err)
	}
	s.vanishes(third, "born")

	// The sites that are a majority write keys; the third refuses with a reason.
	for _, server := range s.servers[:4] {
		if err := program.Await(time.Minute, func() error { return put(s.ctx, server, "made/"+server.name()) }); err != nil {
			t.Errorf("a majority does not write: %v", err)
		}
	}
	c, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	if err := put(c, third, "made/"+third.name()); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("a write without a majority: %v, want a refusal", err)
	}
	rest(s.ctx, time.Until(began.Add(2*lasts)))
	for id := range known {
		service, _, _ := strings.Cut(id, ".")
		s.finds(third, service, id)
	}
	l.calm()
	heal()
	s.judge("three sites", l, time.Now(), false, patient)
	for _, server := range s.servers {
		s.finds(server, site(4), scaled...)
		s.finds(server, "shop", elsewhere)
		s.vanishes(server, "born")
		s.resolves(server, site(4), 4+len(scaled))
	}
}

func put(ctx context.Context, s *server, key string) error {
	_, err := s.client.KV().Put(&api.KVPair{Key: key, Value: []byte("v")}, new(api.WriteOptions).WithContext(ctx))
	return err
}

// finds waits until a server shows these instances of a service.
func (s *storm) finds(server *server, service string, ids ...string) {
	s.t.Helper()
	err := program.Await(time.Minute, func() error {
		shown, err := server.shows(s.ctx, service)
		for _, id := range ids {
			if err == nil && !slices.Contains(shown, id) {
				err = fmt.Errorf("%s is not among %v", id, shown)
			}
		}
		return err
	})
	if err != nil {
		s.t.Errorf("%s: %v", server.name(), err)
	}
}

// vanishes waits until a server shows no instance of a service.
func (s *storm) vanishes(server *server, service string) {
	s.t.Helper()
	err := program.Await(time.Minute, func() error {
		shown, err := server.shows(s.ctx, service)
		if err == nil && len(shown) > 0 {
			err = fmt.Errorf("%v are there", shown)
		}
		return err
	})
	if err != nil {
		s.t.Errorf("%s: %v", server.name(), err)
	}
}

func (s *process) shows(ctx context.Context, service string) (ids []string, err error) {
	var found []struct{ Service struct{ ID string } }
	err = s.ask(ctx, "GET", "/v1/health/service/"+service+"?passing", nil, &found)
	for _, f := range found {
		ids = append(ids, f.Service.ID)
	}
	return ids, err
}

// resolves waits until a server answers with so many addresses by DNS.
func (s *storm) resolves(server *server, service string, n int) {
	s.t.Helper()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return server.dial(ctx, network, "127.0.0.1:8600")
	}}
	err := program.Await(time.Minute, func() error {
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		defer cancel()
		_, found, err := r.LookupSRV(ctx, "", "", service+".service.consul.")
		var none *net.DNSError
		if errors.As(err, &none) && none.IsNotFound {
			err = nil
		}
		if err == nil && len(found) != n {
			err = fmt.Errorf("%s has %d addresses by DNS, want %d", service, len(found), n)
		}
		return err
	})
	if err != nil {
		s.t.Errorf("%s: %v", server.name(), err)
	}
}
