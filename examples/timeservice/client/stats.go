package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerryhq/skerry/client"
)

// stats are the calls since the last line.
type stats struct {
	mu     sync.Mutex
	took   []time.Duration
	failed int
	share  map[string]int // calls by the instance that answered
	now    string         // the last answer
	err    error          // the last failure

	allCalls, allFailed int
}

func (s *stats) add(now, instance string, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, took)
	s.allCalls++
	if err != nil {
		s.failed++
		s.allFailed++
		s.err = err
		return
	}
	if s.share == nil {
		s.share = map[string]int{}
	}
	s.share[instance]++
	s.now = now
}

// print prints a line, and begins anew.
func (s *stats) print(c *client.Client, service string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.took) == 0 && s.allCalls > 0 {
		return
	}
	slices.Sort(s.took)
	at := func(percent int) time.Duration {
		if len(s.took) == 0 {
			return 0
		}
		return s.took[(len(s.took)-1)*percent/100].Round(10 * time.Microsecond)
	}
	list := "no list yet"
	if l, ok := c.Snapshot(service); ok {
		list = fmt.Sprintf("%d instances, %v", len(l.Instances), l.Freshness)
	}
	fmt.Printf("%s  %d calls, %d failed, p50 %v, p99 %v  (%s)\n", s.now, len(s.took), s.failed, at(50), at(99), list)
	for _, instance := range slices.Sorted(maps.Keys(s.share)) {
		fmt.Printf("    %-28s %5d %s\n", instance, s.share[instance], strings.Repeat("#", 40*s.share[instance]/len(s.took)))
	}
	if s.err != nil {
		fmt.Println("    the last failure:", s.err)
	}
	s.took, s.failed, s.share, s.err = nil, 0, nil, nil
}

// total prints all; failed calls are an error.
func (s *stats) total() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Printf("in all %d calls, %d failed\n", s.allCalls, s.allFailed)
	if s.allFailed > 0 {
		return fmt.Errorf("%d of %d calls failed", s.allFailed, s.allCalls)
	}
	return nil
}
