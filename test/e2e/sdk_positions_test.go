package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/skerryhq/skerry/client"
	"github.com/skerryhq/skerry/client/lb"
)

// Callers at agents and at a server get positions on the ring of all callers, so that the parts that they use leave no
// instance out. They keep them while processes of the registry end and start.
func TestCallersGetPositions(t *testing.T) {
	t.Parallel()
	all, at := servers(t, 1)
	hosts := []string{all[0].http, all[0].http}
	var agents []*agent
	for _, name := range []string{"app1", "app2", "app3"} {
		a := joined(t, name, at)
		agents = append(agents, a)
		hosts = append(hosts, a.http, a.http)
	}
	put := &streamed{t: t}
	put.put(all[0], "first")
	var callers []*client.Client
	var positions []float64
	for n, host := range hosts {
		c, err := client.Open("skerry://"+host, client.WithCacheDir(""))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		awaitList(t, c, "batch", fmt.Sprint("caller ", n), func(now client.Snapshot) bool { return lives(1)(now) && now.Position > 0 })
		callers = append(callers, c)
		positions = append(positions, position(t, c))
	}
	t.Logf("the callers stand at %.3f", positions)
	if used := used(positions, 16, 104); used < 104*8/10 {
		t.Errorf("8 callers with 16 of 104 instances each use %d, want 8 of 10 at least", used)
	}

	agents[0].kill()
	all[0].kill()
	all[0].run()
	all[0].ready(200, "true")
	agents[0].run()
	agents[0].attached()
	put.put(all[0], "second")
	for _, a := range agents {
		a.finds("batch", "first", "second")
	}
	for n, c := range callers {
		awaitList(t, c, "batch", fmt.Sprintf("caller %d, after the restart", n), lives(2))
		if now := position(t, c); now != positions[n] {
			t.Errorf("caller %d moved from %v to %v", n, positions[n], now)
		}
	}
}

func position(t *testing.T, c *client.Client) float64 {
	t.Helper()
	for s := range c.Watch(t.Context(), "batch") {
		return s.Position
	}
	t.Fatal("the client is closed")
	return 0
}

// used is how many of the instances are in the part of some caller.
func used(positions []float64, size, instances int) int {
	var nodes []lb.Node
	for n := range instances {
		nodes = append(nodes, lb.Node{Key: fmt.Sprint(n)})
	}
	var keys []string
	for _, p := range positions {
		for _, n := range (lb.Subset{Size: size, Position: p}).Of(nodes, func(string) bool { return false }) {
			keys = append(keys, n.Key)
		}
	}
	slices.Sort(keys)
	return len(slices.Compact(keys))
}
