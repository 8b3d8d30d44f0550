package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/skerryhq/skerry/client/lb"
)

// A large service, computed: nothing here needs a network.
const (
	manyBackends = 1000
	manyCallers  = 300
	subsetSize   = 32
	replacements = 10
)

// chooser returns a caller's part of the backends, of which it has some.
type chooser func(caller int, backends []lb.Node, held map[string]bool) []string

func keys(nodes []lb.Node) (out []string) {
	for _, n := range nodes {
		out = append(out, n.Key)
	}
	return out
}

func has(held map[string]bool) func(string) bool { return func(key string) bool { return held[key] } }

// subsets measures how evenly subsets spread connections, and how many connections a
// replaced backend costs each caller.
func (s *suite) subsets(seed, replacements int) {
	random := rand.New(rand.NewPCG(uint64(seed), 3))
	for _, c := range []struct {
		name string
		of   chooser
	}{
		{"skerry_p2c, by hash", func(caller int, b []lb.Node, held map[string]bool) []string {
			return keys(lb.Subset{Client: fmt.Sprintf("caller-%d-%d", seed, caller)}.Of(b, has(held)))
		}},
		{"skerry_p2c, by ring", func(caller int, b []lb.Node, held map[string]bool) []string {
			return keys(lb.Subset{Position: (float64(caller) + .5) / manyCallers}.Of(b, has(held)))
		}},
		// go-zero shuffles at each update and takes the first (zrpc/resolver/internal/subset.go).
		{"p2c_ewma", func(_ int, b []lb.Node, _ map[string]bool) []string {
			all := keys(b)
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			return all[:subsetSize]
		}},
	} {
		evenness, cost := churn(c.of, seed, replacements)
		s.add(sample{"subset", c.name, "max/mean", seed, evenness})
		s.add(sample{"subset", c.name, "connections", seed, cost})
	}
}

// churn replaces backends one by one. It returns the most connections that a backend
// has by their mean, over all states, and the new connections of a caller for each.
func churn(of chooser, seed, replacements int) (evenness, cost float64) {
	backends := make([]lb.Node, manyBackends)
	for i := range backends {
		backends[i] = lb.Node{Key: fmt.Sprintf("10.%d.%d.%d:80", seed%250, i/250, i%250)}
	}
	held := make([]map[string]bool, manyCallers)
	random := rand.New(rand.NewPCG(uint64(seed), 4))
	made := 0
	var worst []float64
	for round := range replacements + 1 {
		if round > 0 {
			backends[random.IntN(len(backends))].Key = fmt.Sprintf("10.%d.200.%d:80", seed%250, round)
		}
		count := map[string]int{}
		for caller := range held {
			next := map[string]bool{}
			for _, key := range of(caller, slices.Clone(backends), held[caller]) {
				next[key] = true
				count[key]++
				if round > 0 && !held[caller][key] {
					made++
				}
			}
			held[caller] = next
		}
		most := 0
		for _, n := range count {
			most = max(most, n)
		}
		worst = append(worst, float64(most)/(float64(manyCallers*subsetSize)/manyBackends))
	}
	return spreadOf(worst).median, float64(made) / float64(manyCallers*replacements)
}
