//go:build linux

package storm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

const (
	// absent is how long an agent that crashes is away: less than its TTL, with its start.
	absent = time.Second
	// hung is how long an agent hangs, which is no loss either.
	hung = 3 * time.Second
	// faultEvery is the time between two faults of agents that last less.
	faultEvery = 5 * time.Second
	// killEvery is the time between two kills of anything.
	killEvery = 2 * time.Second
)

// agentFaults are those of agents, and those that agents have to outlast.
var agentFaults = []fault{
	{name: "agents crash", agents: true, begin: func(s *storm, r *rand.Rand) func() {
		return s.again(faultEvery, func() func() { return s.kill(s.anAgent(r).host) }, absent)
	}},
	{name: "agents hang", agents: true, begin: func(s *storm, r *rand.Rand) func() {
		return s.again(faultEvery, func() func() { return s.stop(s.anAgent(r).host) }, hung)
	}},
	{name: "kill an agent for long", agents: true, begin: func(s *storm, r *rand.Rand) func() { return s.kill(s.anAgent(r).host) }},
	{name: "stop an agent for long", agents: true, begin: func(s *storm, r *rand.Rand) func() { return s.stop(s.anAgent(r).host) }},
	{name: "cut an agent off from its server", agents: true, begin: func(s *storm, r *rand.Rand) func() {
		a := s.anAgent(r)
		n, err := s.attachedTo(a)
		if err != nil {
			n = r.IntN(len(s.servers)) // another fault has it
		}
		return s.cut(pair{a.host, n}, pair{n, a.host})
	}},
	{name: "cut an agent off from all", agents: true, begin: func(s *storm, r *rand.Rand) func() {
		a := s.anAgent(r)
		var ways []pair
		for n := range s.servers {
			ways = append(ways, pair{a.host, n}, pair{n, a.host})
		}
		return s.cut(ways...)
	}},
	{name: "all servers are down", agents: true, restart: true, lasts: outage, keyless: true, begin: func(s *storm, r *rand.Rand) func() {
		var ends []func()
		for n := range s.servers {
			ends = append(ends, s.kill(n))
		}
		stop := s.again(faultEvery, func() func() { return s.kill(s.anAgent(r).host) }, absent)
		return func() {
			together(ends)
			stop()
		}
	}},
	{name: "replace the servers", agents: true, restart: true, alone: true, lasts: func() time.Duration { return 3 * lasts }, begin: func(s *storm, _ *rand.Rand) func() {
		var going sync.WaitGroup
		going.Go(func() {
			for n := range s.servers {
				s.replace(n)
			}
		})
		return going.Wait
	}},
	{name: "kill anything", agents: true, restart: true, lasts: long, begin: func(s *storm, r *rand.Rand) func() {
		return s.again(killEvery, func() func() { return s.kill(r.IntN(len(s.servers) + len(s.agents))) }, absent)
	}},
}

// outage is how long all servers are down: STORM_OUTAGE, or 10 minutes if there is an hour for all, 20 s if there are minutes,
// else longer than the TTL of leases.
func outage() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("STORM_OUTAGE")); err == nil {
		return d
	}
	switch m := minutes(); {
	case m >= 60:
		return 10 * time.Minute
	case m > 0:
		return 20 * time.Second
	}
	return ttl + ttl/3
}

// minutes is how long all faults may take, in minutes; 0: it is not said.
func minutes() float64 {
	m, _ := strconv.ParseFloat(os.Getenv("STORM_MINUTES"), 64)
	return m
}

// long is how long anything is killed: if it is the only fault, for STORM_MINUTES.
func long() time.Duration {
	if os.Getenv("STORM_FAULT") == "" || minutes() == 0 {
		return 30 * time.Second
	}
	return time.Duration(minutes() * float64(time.Minute))
}

// replace lets a server leave, and a new one with another name and an empty disk join in its place.
func (s *storm) replace(n int) {
	server := s.servers[n]
	if !s.take(n) {
		return
	}
	defer s.giveBack(n)
	s.tell("%s leaves", server.name())
	s.record.mark(time.Now(), func(e *era) { e.out[n]++ })
	if err := server.ask(s.ctx, "PUT", "/v1/agent/leave", nil, nil); err != nil {
		s.tell("%s answers the request to leave with %v", server.name(), err)
	}
	server.left(leavesWithin)
	if err := os.RemoveAll(server.data()); err != nil {
		s.t.Error(err)
	}
	server.named.Add(1)
	server.configure(server.keys)
	server.run()
	s.tell("%s runs", server.name())
	err := program.Await(time.Minute, func() error { return s.votes(len(s.servers)) })
	if err == nil {
		err = server.own()
	}
	if err != nil {
		s.t.Errorf("%s did not take its place: %v", server.name(), err)
	}
	s.tell("%s votes", server.name())
	s.record.mark(time.Now(), func(e *era) { e.out[n]-- })
}

// leavesWithin bounds the end of a server that leaves.
const leavesWithin = 30 * time.Second

// votes returns an error unless so many servers vote, by the word of all of them.
func (s *storm) votes(want int) error {
	for _, server := range s.servers {
		var now struct {
			Servers []struct{ Voter bool }
		}
		if err := server.ask(s.ctx, "GET", "/v1/operator/raft/configuration", nil, &now); err != nil {
			return err
		}
		voters := 0
		for _, one := range now.Servers {
			if one.Voter {
				voters++
			}
		}
		if voters != want || len(now.Servers) != want {
			return fmt.Errorf("%s knows %d servers of which %d vote, want %d", server.name(), len(now.Servers), voters, want)
		}
	}
	return nil
}

// again begins a fault again and again, and ends each after a time. Its end waits for those of all.
func (s *storm) again(every time.Duration, begin func() (end func()), after time.Duration) (end func()) {
	ctx, stop := context.WithCancel(s.ctx)
	var going sync.WaitGroup
	going.Go(func() {
		for ctx.Err() == nil {
			one := begin()
			going.Go(func() {
				rest(s.ctx, after)
				one()
			})
			rest(ctx, every)
		}
	})
	return func() {
		stop()
		going.Wait()
	}
}
