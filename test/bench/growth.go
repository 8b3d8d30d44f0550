package main

import (
	"fmt"
	"os"
	"time"
)

// growth announces the fleet, and measures on the way what a change and a beat cost.
func (s *suite) growth(f *fleet) error {
	if s.skip("owners growth") {
		return f.grow(s.ctx, fleetOwners)
	}
	curves := []curve{{name: "registration", color: "#06c"}, {name: "beat of a lease", color: "#c60"}}
	for _, n := range []int{4, 20, 40, 200, 400, 1000, fleetOwners} {
		if err := f.grow(s.ctx, n); err != nil {
			return err
		}
		if err := s.costs(f, curves); err != nil {
			return err
		}
	}
	for _, c := range curves {
		least, most := c.values[0], c.values[0]
		for _, v := range c.values {
			least, most = min(least, v), max(most, v)
		}
		s.add(fmt.Sprintf("%s, three servers, %d to %d instances", c.name, c.sizes[0], c.sizes[len(c.sizes)-1]), "independent of the size",
			fmt.Sprintf("%.0f to %.0f µs CPU in all; at the last size %.2f × the first", least, most, c.values[len(c.values)-1]/c.values[0]), c.values[len(c.values)-1] <= 1.5*c.values[0])
	}
	if s.plot == "" {
		return nil
	}
	return os.WriteFile(s.plot, []byte(plot("CPU of three servers, their idle time subtracted", curves)), 0o644)
}

// quiet is how long servers do nothing before costs are measured, and once more to measure
// their idle CPU time, which is subtracted. The garbage of the growth is gone by then.
const quiet = 10 * time.Second

// costs measures a change of one instance and a beat at the present size. There are enough of them
// for several collections of garbage.
func (s *suite) costs(f *fleet, curves []curve) error {
	time.Sleep(quiet)
	idle, err := f.g.cpuOf(func() error { time.Sleep(quiet); return nil })
	if err != nil {
		return err
	}
	size := len(f.digests) * f.each
	for i, what := range []struct {
		n  int
		do func(i int) error
	}{
		{12_000, func(i int) error {
			return put(s.ctx, f.c, "http://"+f.g.servers[0].http+"/v1/agent/service/register", fmt.Appendf(nil, `{"Name": "changed-%d", "Port": %d}`, i%100, 80+len(f.digests)%1000+i/100))
		}},
		{150_000, func(i int) error {
			i %= len(f.digests)
			return put(s.ctx, f.c, fmt.Sprintf("http://%s/v1/skerry/owner/owner-%d/beat?digest=%s", f.g.servers[0].http, i, f.digests[i]), nil)
		}},
	} {
		began := time.Now()
		used, err := f.g.cpuOf(func() error { return inParallel(fleetWorkers, 0, what.n, what.do) })
		if err != nil {
			return err
		}
		used -= time.Duration(float64(idle) * time.Since(began).Seconds() / quiet.Seconds())
		each := float64(used.Microseconds()) / float64(what.n)
		curves[i].sizes, curves[i].values = append(curves[i].sizes, size), append(curves[i].values, each)
		fmt.Printf("  %s at %d instances: %.0f µs; idle they use %.1f %% of a core\n", curves[i].name, size, each, 100*idle.Seconds()/quiet.Seconds())
	}
	return nil
}
