// Command bench measures Skerry beside its references, in one run on one machine: bare
// servers that write the same bytes, and real peers when they are there (CONSUL_BIN,
// COREDNS_BIN). See README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"
)

// row is one line of the table.
type row struct {
	what, must, got string
	ok              bool
}

type suite struct {
	ctx    context.Context
	skip   func(name string) bool
	agents bool   // reads are measured at an agent
	plot   string // the file for the growth's plot; empty: none
	rows   []row
}

func (s *suite) add(what, must, got string, ok bool) {
	s.rows = append(s.rows, row{what, must, got, ok})
	fmt.Printf("%-62s %-34s %s\n", what, must, got)
}

func main() {
	if bare(os.Args[1:]) {
		return
	}
	only := flag.String("only", "", "measure only what holds one of these words, separated by commas")
	bin := flag.String("bin", "", "binary to measure; default: built from this checkout")
	several := flag.Bool("cluster", false, "measure servers that hold one catalog instead; takes about 20 minutes")
	agents := flag.Bool("agents", false, "measure agents instead: reads at one, and what many cost a server; takes about 6 minutes")
	plot := flag.String("plot", "", "write the plot of the growth, as SVG, to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s := &suite{ctx: ctx, agents: *agents, plot: *plot, skip: func(name string) bool { return *only != "" && !containsAny(name, strings.Split(*only, ",")) }}
	if err := s.run(*bin, *several); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	missed := 0
	for _, r := range s.rows {
		if !r.ok {
			missed++
		}
	}
	fmt.Printf("\n%d figures, %d missed (%s)\n", len(s.rows), missed, time.Now().UTC().Format(time.DateOnly))
}

func containsAny(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// measurement is a part of the table.
type measurement struct {
	name string
	do   func(bin string) error
}

func (s *suite) alone() []measurement {
	return []measurement{
		{"start", s.start}, {"health", s.health}, {"dns", s.dns}, {"watch", s.watch},
		{"beat", s.beat}, {"register", s.register}, {"idle", s.idleWatchers},
		{"keys", s.keys}, {"external", s.external}, {"million", s.million},
	}
}

func (s *suite) withAgents() []measurement {
	return []measurement{
		{"health", s.health}, {"dns", s.dns}, {"forwarded", s.forwarded}, {"small", s.small}, {"fanout", s.fanout},
		{"attached", s.attached}, {"idle", s.idleAgent}, {"spread", s.spreadAgents}, {"encrypted", s.encrypted},
	}
}

func (s *suite) several() []measurement {
	return []measurement{{"spread", s.spread}, {"leaderless", s.leaderless}, {"owners growth beats newcomer", s.owners}}
}

func (s *suite) run(bin string, several bool) error {
	if bin == "" {
		var err error
		if bin, err = build(); err != nil {
			return err
		}
		defer os.Remove(bin)
	}
	var measure []measurement
	switch {
	case several:
		measure = s.several()
	case s.agents:
		measure = s.withAgents()
	default:
		s.peers()
		measure = s.alone()
	}
	for _, m := range measure {
		if s.skip(m.name) {
			continue
		}
		if err := m.do(bin); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// peers reports missing peers.
func (s *suite) peers() {
	for _, p := range []string{"CONSUL_BIN", "COREDNS_BIN"} {
		if os.Getenv(p) == "" {
			fmt.Printf("%s is not set: that peer is not measured\n", p)
		}
	}
}
