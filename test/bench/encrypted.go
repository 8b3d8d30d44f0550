package main

import (
	"fmt"
	"time"
)

// encrypted compares the CPU of servers whose connections are encrypted with that of plain ones: the same registrations at
// agents, their beats, and the servers' own messages.
func (s *suite) encrypted(bin string) error {
	const agents, rate, lasts = 10, 1000, 10 * time.Second
	var used [2]time.Duration
	for i, secure := range []bool{false, true} {
		g, err := (&group{ctx: s.ctx, bin: bin, secure: secure}).form(3)
		if err != nil {
			return err
		}
		used[i], err = s.registering(g, agents, rate, lasts)
		g.stop()
		if err != nil {
			return err
		}
	}
	ratio := float64(used[1]) / float64(used[0])
	s.add(fmt.Sprintf("servers with TLS beside plain ones, %d registrations/s at %d agents", rate, agents), "≤ 1.4 × the CPU",
		fmt.Sprintf("%.2f × (%v and %v in %v)", ratio, used[1].Round(10*time.Millisecond), used[0].Round(10*time.Millisecond), lasts), ratio <= 1.4)
	return nil
}

// registering returns the CPU time that the servers of a group use for registrations.
func (s *suite) registering(g *group, agents, rate int, lasts time.Duration) (time.Duration, error) {
	for i := range agents {
		a, err := s.agentOf(g, fmt.Sprint("agent-", i), g.join...)
		if err != nil {
			return 0, err
		}
		g.agents = append(g.agents, a)
	}
	time.Sleep(2 * time.Second) // handshakes are apart
	return g.cpuOf(func() error {
		made, err := g.register(s.ctx, rate, lasts)
		for _, p := range g.servers {
			if err == nil {
				err = awaitServices(s.ctx, p.http, min(made, paced))
			}
		}
		return err
	})
}
