package autopilot_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/skerryhq/skerry/quorum"
	"github.com/skerryhq/skerry/quorum/autopilot"
)

// members reads a list: v a voter, l a learner, r a read server, in capitals if they are away,
// and a dot where one was removed.
func members(list string) (out []quorum.Member) {
	for i, c := range list {
		if c == '.' {
			continue
		}
		out = append(out, quorum.Member{ID: fmt.Sprint(i), Name: strings.ToLower(string(c)), Learner: c != 'v' && c != 'V', Connected: unicode.IsLower(c), Self: i == 0})
	}
	return out
}

func TestNext(t *testing.T) {
	type step struct {
		after time.Duration
		list  string
		want  autopilot.Change
	}
	promote := func(id string) autopilot.Change { return autopilot.Change{Promote: id} }
	var none autopilot.Change
	const stable, dead = 10 * time.Second, 10 * time.Minute
	for name, tt := range map[string]struct {
		cfg   autopilot.Config
		steps []step
	}{
		"three voters need nothing":         {steps: []step{{0, "vvv", none}, {dead, "vvv", none}}},
		"one spare waits":                   {steps: []step{{0, "vvvl", none}, {dead, "vvvl", none}}},
		"two spares get votes":              {steps: []step{{0, "vvvll", none}, {stable - 1, "vvvll", none}, {stable, "vvvll", promote("3")}, {stable, "vvvvl", promote("4")}, {dead, "vvvvv", none}}},
		"five are the most":                 {steps: []step{{0, "vvvvvll", none}, {dead, "vvvvvll", none}}},
		"one grows to three, by two":        {steps: []step{{0, "vl", none}, {stable, "vl", none}, {stable, "vll", none}, {2 * stable, "vll", promote("1")}, {2 * stable, "vvl", promote("2")}}},
		"one that flaps is not stable":      {steps: []step{{0, "vll", none}, {stable - 1, "vLl", none}, {stable, "vll", none}, {2*stable - 1, "vll", none}, {2 * stable, "vll", promote("1")}}},
		"a spare takes a dead voter's seat": {steps: []step{{0, "vvVl", none}, {dead - 1, "vvVl", none}, {dead, "vvVl", autopilot.Change{Remove: "2"}}, {dead, "vv.l", promote("3")}}},
		"nobody leaves without a spare":     {steps: []step{{0, "vvV", none}, {24 * time.Hour, "vvV", none}}},
		"nobody leaves without a majority":  {steps: []step{{0, "vVVl", none}, {24 * time.Hour, "vVVl", none}}},
		"a read server never gets a vote":   {steps: []step{{0, "vrr", none}, {dead, "vrr", none}, {dead, "vrrl", none}, {2 * dead, "vrrll", none}, {3 * dead, "vrrll", promote("3")}}},
		"a dead read server is forgotten":   {steps: []step{{0, "vvvR", none}, {24*time.Hour - 1, "vvvR", none}, {24 * time.Hour, "vvvR", autopilot.Change{Remove: "3"}}}},
		"and is kept if it is asked":        {cfg: autopilot.Config{KeepDead: true}, steps: []step{{0, "vvvR", none}, {48 * time.Hour, "vvvR", none}}},
		"enough must be left":               {cfg: autopilot.Config{Least: 4}, steps: []step{{0, "vvVl", none}, {dead, "vvVl", none}, {dead, "vvVll", autopilot.Change{Remove: "2"}}}},
		"dead voters stay if it is asked":   {cfg: autopilot.Config{KeepDead: true}, steps: []step{{0, "vvVl", none}, {24 * time.Hour, "vvVl", none}}},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
			tt.cfg.Votes = func(m quorum.Member) bool { return m.Name == "l" }
			p := autopilot.New(tt.cfg)
			for i, s := range tt.steps {
				if got := p.Next(began.Add(s.after), members(s.list)); got != s.want {
					t.Fatalf("step %d, %s after %v: %+v, want %+v", i+1, s.list, s.after, got, s.want)
				}
			}
		})
	}
}

func TestConfigure(t *testing.T) {
	began := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	p := autopilot.New(autopilot.Config{Stable: time.Hour})
	p.Next(began, members("vll"))
	if got := p.Next(began.Add(time.Minute), members("vll")); got != (autopilot.Change{}) {
		t.Errorf("before the change: %+v", got)
	}
	p.Configure(autopilot.Config{Stable: time.Minute})
	if got := p.Next(began.Add(time.Minute), members("vll")); got.Promote != "1" {
		t.Errorf("after the change: %+v", got)
	}
}
