package main

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/skerryhq/skerry/test/sdk/work"
)

// policies are measured at the same time, each with servers of its own.
var policies = []string{"skerry_p2c", "p2c_ewma", "round_robin"}

// ours is the one that promises.
const ours = "skerry_p2c"

const (
	fleetSize = 10
	fair      = 100. / fleetSize
)

// Servers are those of the protocol: six workers, 10 ms of work on the mean,
// exponential. They are less busy than there, since the callers are fewer.
const (
	workers = 6
	mean    = 10 * time.Millisecond
)

// busy is which part of the time a server's workers work.
func (l load) busy() float64 { return float64(l.Rate) / fleetSize * mean.Seconds() / workers }

// step is a fault of server 0, and then a time without.
type step struct {
	fault    string
	ill      time.Duration
	recovery time.Duration
}

// faultRun is one run of a fleet through faults, by one policy.
type faultRun struct {
	policy  string
	servers []*server
	caller  *caller
	records []work.Record
}

// faults measures some policies through the steps at once, with these callers.
func (s *suite) faults(policies []string, seed int, l load, warm time.Duration, steps []step, retry bool) error {
	var runs []*faultRun
	for _, p := range policies {
		servers, err := s.fleet(fleetSize, "-mean", mean.String(), "-workers", strconv.Itoa(workers))
		if err != nil {
			return err
		}
		runs = append(runs, &faultRun{policy: p, servers: servers})
	}
	defer func() {
		for _, r := range runs {
			killAll(r.servers)
		}
	}()
	for _, r := range runs {
		var err error
		r.caller, err = s.startCaller(nil, r.policy, "-find", list(r.servers), "-callers", strconv.Itoa(l.Callers),
			"-rps", strconv.Itoa(l.Rate), "-seed", strconv.Itoa(seed), "-retry="+strconv.FormatBool(retry))
		if err != nil {
			return err
		}
		defer r.caller.kill()
		if err := r.caller.awaitReady(10 * time.Second); err != nil {
			return err
		}
	}
	cpu := readProcessor()
	began := time.Now()
	ill, healed, err := s.walk(runs, warm, steps)
	if err != nil {
		return err
	}
	end := time.Now()
	name := func(fault string) string {
		n := fault + "-" + l.Name
		if retry {
			n += "-retry"
		}
		return n
	}
	s.busy(name("faults"), seed, readProcessor().since(cpu))
	s.addSeries(series{name("faults"), "", "ill", seed, seconds(window{began, end}, ill)})
	var wg sync.WaitGroup
	for _, r := range runs {
		if r.records, err = r.caller.finish(); err != nil {
			return err
		}
		wg.Go(func() {
			s.faultFigures(seed, r, name, window{began.Add(warm / 2), began.Add(warm)}, steps, ill, healed)
		})
		for _, f := range []struct {
			metric string
			of     func([]work.Record) float64
		}{
			{"share", func(in []work.Record) float64 { return share(in, 0) }},
			{"errors", func(in []work.Record) float64 { return percent(len(failed(in)), len(in)) }},
		} {
			s.addSeries(series{name("faults"), r.policy, f.metric, seed, bySecond(r.records, window{began, end}, f.of)})
		}
	}
	wg.Wait()
	return nil
}

// walk goes through the steps, with all fleets at once, and returns when server 0 was
// ill, and when not any more.
func (s *suite) walk(runs []*faultRun, warm time.Duration, steps []step) (ill, healed []window, err error) {
	set := func(fault string) error {
		for _, r := range runs {
			if err := r.servers[0].fault(fault); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.sleep(warm); err != nil {
		return nil, nil, err
	}
	for _, st := range steps {
		if err := set(st.fault); err != nil {
			return nil, nil, err
		}
		from := time.Now()
		if err := s.sleep(st.ill); err != nil {
			return nil, nil, err
		}
		if err := set("none"); err != nil {
			return nil, nil, err
		}
		to := time.Now()
		if err := s.sleep(st.recovery); err != nil {
			return nil, nil, err
		}
		ill = append(ill, window{from, to})
		healed = append(healed, window{to, time.Now()})
	}
	return ill, healed, nil
}

// seconds returns 1 for each second of w in which the server was ill, else 0.
func seconds(w window, ill []window) (out []float64) {
	for at := w.from.Add(time.Second / 2); at.Before(w.to); at = at.Add(time.Second) {
		v := 0.
		if slices.ContainsFunc(ill, func(i window) bool { return i.has(at) }) {
			v = 1
		}
		out = append(out, v)
	}
	return out
}

// healedLast is the part of a recovery that counts: the last of the 20 s in which a
// server must be back.
const healedLast = 5 * time.Second

// faultFigures works out a run's figures.
func (s *suite) faultFigures(seed int, r *faultRun, name func(string) string, healthy window, steps []step, ill, healed []window) {
	well := healthy.of(r.records)
	p99 := quantile(well, .99)
	for n, st := range steps {
		row := name(st.fault)
		add := func(metric string, value float64) { s.add(sample{row, r.policy, metric, seed, value}) }
		in := ill[n].of(r.records)
		add("calls", float64(len(in)))
		add("share", share(in, 0))
		add("errors", percent(len(failed(in)), len(in)))
		add("p50", quantile(in, .5))
		add("p99", quantile(in, .99))
		add("p99.9", quantile(in, .999))
		add("healthy p99", p99)
		add("healthy errors", percent(len(failed(well)), len(well)))
		add("p99 ratio", quantile(in, .99)/p99)
		if st.recovery >= 2*healedLast {
			last := window{healed[n].to.Add(-healedLast), healed[n].to}
			add("healed", 100*share(last.of(r.records), 0)/fair)
		}
	}
}
