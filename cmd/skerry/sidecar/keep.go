package sidecar

import (
	"context"
	"net"
	"time"
)

// How often the port is tried, and after which time that is worth a word.
const (
	portTry  = 20 * time.Millisecond
	portWord = 10 * time.Second
)

// keep waits until the program serves, registers it, and registers it again when
// the agent has lost it, until ctx ends.
func (s *supervisor) keep(ctx context.Context) {
	if !s.awaitPort(ctx) {
		return
	}
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	registered, failing := false, false
	for {
		err := s.refresh(ctx, &registered)
		if ctx.Err() != nil {
			return
		}
		// One line per outage, not one per try.
		if err != nil && !failing {
			s.Log.Warn("service not registered; trying on", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// refresh registers the service, unless the agent confirms that it is.
func (s *supervisor) refresh(ctx context.Context, registered *bool) error {
	if *registered {
		known, err := s.Registrar.Confirm(ctx)
		if err != nil || known {
			return err
		}
		*registered = false
		s.Log.Warn("the agent has lost the service; registering it again")
	}
	if err := s.Registrar.Register(ctx); err != nil {
		return err
	}
	*registered = true
	s.Log.Info("service registered")
	// A TTL check begins critical: confirm now, not in a while.
	_, err := s.Registrar.Confirm(ctx)
	return err
}

// awaitPort waits until one of the addresses listens; false when ctx ended first.
func (s *supervisor) awaitPort(ctx context.Context) bool {
	if len(s.Listens) == 0 {
		return ctx.Err() == nil
	}
	word := time.NewTimer(portWord)
	defer word.Stop()
	tick := time.NewTicker(portTry)
	defer tick.Stop()
	for {
		for _, address := range s.Listens {
			if listens(ctx, address) {
				return ctx.Err() == nil
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-word.C:
			s.Log.Warn("the program does not listen yet; waiting on", "addresses", s.Listens)
		case <-tick.C:
		}
	}
}

func listens(ctx context.Context, address string) bool {
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
