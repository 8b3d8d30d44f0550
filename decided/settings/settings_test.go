package settings_test

import (
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/decided/decidedtest"
	"github.com/skerryhq/skerry/decided/settings"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

func values(t *testing.T, s *settings.Store) skerry.Autopilot {
	t.Helper()
	a, err := s.Autopilot()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func set(t *testing.T, s *settings.Store, a skerry.Autopilot, after *uint64, want bool) {
	t.Helper()
	if got, err := s.SetAutopilot(t.Context(), a, after); err != nil || got != want {
		t.Errorf("set: %v, %v, want %v", got, err, want)
	}
}

// Two servers whose configurations differ have one value once one of them began.
func TestTheConfigurationHasTheFirstValues(t *testing.T) {
	kv := replicatest.NewMemory()
	one := settings.New(kv, skerry.Autopilot{MinQuorum: 3, ServerStabilizationTime: time.Second})
	two := settings.New(kv, skerry.Autopilot{MinQuorum: 5})
	if a := values(t, one); a.MinQuorum != 3 || a.Modified != 0 {
		t.Errorf("before it began: %+v", a)
	}
	for _, s := range []*settings.Store{one, two, one} {
		if err := s.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first := values(t, two)
	if first.MinQuorum != 3 || first.ServerStabilizationTime != time.Second || first.Modified == 0 || first.Created != first.Modified {
		t.Errorf("the other server has %+v", first)
	}
	if index := kv.Index(); index != first.Modified {
		t.Errorf("what began was written again: %d, %d", index, first.Modified)
	}
	set(t, two, skerry.Autopilot{CleanupDeadServers: true}, nil, true)
	if a := values(t, one); !a.CleanupDeadServers || a.MinQuorum != 0 || a.Created != first.Created || a.Modified <= first.Modified {
		t.Errorf("after a change: %+v", a)
	}
	set(t, one, first, &first.Modified, false)
	now := values(t, one).Modified
	set(t, one, first, &now, true)
	if a := values(t, two); a.MinQuorum != 3 {
		t.Errorf("after a change on condition: %+v", a)
	}
}

func TestADamagedRecordIsReplaced(t *testing.T) {
	kv := replicatest.NewMemory()
	s := settings.New(kv, skerry.Autopilot{MinQuorum: 3})
	set(t, s, skerry.Autopilot{MinQuorum: 4}, nil, true)
	kv.Damage("autopilot")
	_, err := s.Autopilot()
	decidedtest.WantDamage(t, "a read", err, "autopilot")
	decidedtest.WantDamage(t, "the first values", s.Begin(t.Context()), "autopilot")
	set(t, s, skerry.Autopilot{MinQuorum: 5}, nil, true)
	if a := values(t, s); a.MinQuorum != 5 {
		t.Errorf("%+v", a)
	}
}
