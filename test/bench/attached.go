package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/cluster/frame"
	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/tool/bench"
)

// crowd is agents that are attached to one server, with a service each.
type crowd struct {
	streams  []*link.Stream
	beats    [][]byte
	answered atomic.Int64 // the beats
}

const (
	crowdAgents = 5000
	crowdEvery  = 5 * time.Second / 3 // between the beats of an agent
)

// attach attaches the agents.
func (c *crowd) attach(ctx context.Context, at string) error {
	c.streams, c.beats = make([]*link.Stream, crowdAgents), make([][]byte, crowdAgents)
	return inParallel(16, 0, crowdAgents, func(i int) error {
		node := fmt.Sprint("node-", i)
		stream, err := link.NewDialer(node, nil).Dial(ctx, at, ownerStream)
		if err != nil {
			return err
		}
		c.streams[i] = stream
		owner := skerry.OwnerID("agent/" + node)
		set := &skerry.Set{Node: &skerry.Node{Name: node, Address: "10.0.0.1"}, Instances: []*skerry.Instance{{ID: "web", Service: fmt.Sprint("service-", i%500), Port: 80}}}
		v, digest := skerry.Version{Epoch: 1, Seq: 1}, set.Digest()
		attach := cluster.Attach{Owner: owner, Kind: skerry.AgentOwner, TTL: 5 * time.Second, Version: v, Digest: digest, Attach: 1}
		record := cluster.Record{Owner: owner, Kind: skerry.AgentOwner, TTL: 5 * time.Second, Version: v, Digest: digest, Set: set}
		for _, m := range []cluster.Message{attach, cluster.Announce{Record: record}} {
			b, err := frame.Encode(m)
			if err == nil {
				err = stream.Send(b)
			}
			if err == nil {
				_, err = stream.Receive()
			}
			if err != nil {
				return err
			}
		}
		c.beats[i], err = frame.Encode(cluster.Beat{Owner: owner, Epoch: 1, Attach: 1, Digest: digest})
		go c.count(stream)
		return err
	})
}

// count counts the answers to the beats of an agent.
func (c *crowd) count(stream *link.Stream) {
	for {
		if _, err := stream.Receive(); err != nil {
			return
		}
		c.answered.Add(1)
	}
}

// beat lets each agent beat so many times, spread over time.
func (c *crowd) beat(times int) error {
	for range times {
		began := time.Now()
		for i, stream := range c.streams {
			if err := stream.Send(c.beats[i]); err != nil {
				return err
			}
			if due := began.Add(crowdEvery * time.Duration(i) / crowdAgents); time.Until(due) > time.Millisecond {
				time.Sleep(time.Until(due))
			}
		}
		time.Sleep(time.Until(began.Add(crowdEvery)))
	}
	return nil
}

// attached measures agents that are attached to one server, and beat.
func (s *suite) attached(bin string) error {
	p, at, err := s.lone(bin)
	if err != nil {
		return err
	}
	defer p.stop()
	time.Sleep(2 * time.Second)
	idle, err := rss(p.pid())
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	c := &crowd{}
	if err := c.attach(ctx, at); err != nil {
		return err
	}
	const warm, rounds = 3, 12
	if err := c.beat(warm); err != nil {
		return err
	}
	first := c.answered.Load()
	var before, after time.Duration
	scale, err := s.scaled(func() (err error) {
		if before, err = bench.CPU(p.pid()); err == nil {
			err = c.beat(rounds)
		}
		if err == nil {
			after, err = bench.CPU(p.pid())
		}
		return err
	})
	if err != nil {
		return err
	}
	n := c.answered.Load() - first
	full, err := rss(p.pid())
	if err != nil {
		return err
	}
	shown, err := services(p.http)
	if err != nil {
		return err
	}
	each, cpu := float64(full-idle)/crowdAgents, float64((after-before).Microseconds())/float64(n)
	s.add(fmt.Sprintf("%d agents attached to one server, a service each", crowdAgents), "≤ 70 KB and ≤ 80 µs of CPU a beat, each",
		fmt.Sprintf("%.1f KB, %s (%d of %d beats answered; %d services shown)", each/1000, scaling(cpu, scale), n, rounds*crowdAgents, shown), each <= 70e3 && cpu <= 80*scale && n == rounds*crowdAgents && shown >= 500)
	return nil
}
