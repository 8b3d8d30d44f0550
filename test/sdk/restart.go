package main

import (
	"fmt"
	"strconv"
	"syscall"
	"time"
)

// rolling restarts servers gracefully, one after another, while it grows from three to
// six of them: each side with its own servers and its own registry.
func (s *suite) rolling(seed int) error {
	sides, err := s.sides(true)
	if err != nil {
		return err
	}
	defer func() {
		for _, sd := range sides {
			sd.registry.kill()
		}
	}()
	for _, sd := range sides {
		cpu := readProcessor()
		// A million calls is our promise; of go-zero a part must do.
		lasting, rate := rollingCalls*time.Second/time.Duration(s.rate), s.rate
		if s.quick || sd.policy != ours {
			lasting, rate = 15*time.Second, 1000
		}
		if err := s.rollingSide(seed, sd, lasting, rate); err != nil {
			return fmt.Errorf("%s: %w", sd.policy, err)
		}
		s.busy("rolling, "+sd.policy, seed, readProcessor().since(cpu))
	}
	return nil
}

const (
	rollingFrom = 3
	rollingTo   = 6
	// rollingCalls is the number of calls of a run of ours.
	rollingCalls = 208_000
)

func (s *suite) rollingSide(seed int, sd *side, lasting time.Duration, rate int) error {
	var servers []*server
	defer func() { killAll(servers) }()
	start := func() error {
		srv, err := s.startServer(nil, s.address(), append([]string{"-mean", "0", "-seed", strconv.Itoa(len(servers))}, sd.register...)...)
		if err != nil {
			return err
		}
		servers = append(servers, srv)
		return nil
	}
	for range rollingFrom {
		if err := start(); err != nil {
			return err
		}
	}
	if err := s.sleep(3 * time.Second); err != nil {
		return err
	}
	c, err := s.startCaller(nil, sd.policy, "-find", sd.find, "-servers", list(servers), "-callers", "4", "-rps", strconv.Itoa(rate), "-seed", strconv.Itoa(seed))
	if err != nil {
		return err
	}
	defer c.kill()
	if err := c.awaitReady(10 * time.Second); err != nil {
		return err
	}
	restarts := 0
	for end := time.Now().Add(lasting); time.Now().Before(end); restarts++ {
		// The new one first, as rolling updates do.
		if err := start(); err != nil {
			return err
		}
		if err := s.sleep(time.Second); err != nil {
			return err
		}
		if len(servers) <= rollingTo && restarts%2 == 0 {
			continue // it grows
		}
		oldest := servers[0]
		if err := oldest.signal(syscall.SIGTERM); err != nil {
			return err
		}
		if err := oldest.await(30 * time.Second); err != nil {
			return err
		}
		servers = servers[1:]
	}
	records, err := c.finish()
	if err != nil {
		return err
	}
	add := func(metric string, v float64) { s.add(sample{"rolling", sd.policy, metric, seed, v}) }
	add("calls", float64(len(records)))
	add("failed", float64(len(failed(records))))
	add("restarts", float64(restarts))
	return nil
}
