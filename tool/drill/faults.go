package drill

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// away is how long a process is away in most drills.
const away = 6 * time.Second

// never are promises of calls that do not need the quorum store.
var never = map[kind]promise{lookUps: {gap: time.Second}, registrations: {gap: time.Second}}

// with are promises with more for keys and locks.
func with(store promise) map[kind]promise {
	return map[kind]promise{lookUps: never[lookUps], registrations: never[registrations], keys: store, locks: store}
}

var drills = []Drill{
	{
		Name: "leader-loss", Short: "the server that leads is killed, and starts again",
		Expect:   "In production: nothing at look-ups and registrations; keys and locks wait a second or two, and no write is lost or made twice.",
		promises: with(promise{gap: 5 * time.Second}), whole: 15 * time.Second,
		play: func(s *stage) error {
			m, err := s.leader()
			if err != nil {
				return err
			}
			s.tell("kill -9 of %s, which leads", m.name)
			m.kill()
			return s.comeBack(m)
		},
	},
	{
		Name: "server-hang", Short: "the server that leads stops without ending (SIGSTOP), and goes on",
		Expect:   "In production: as when it is killed. A server that wakes takes no instance out for the time in which it hung.",
		promises: with(promise{gap: 5 * time.Second}), whole: 15 * time.Second,
		play: func(s *stage) error {
			m, err := s.leader()
			if err != nil {
				return err
			}
			s.tell("SIGSTOP of %s, which leads", m.name)
			m.away()
			if err := suspend(m.cmd.Process); err != nil {
				return err
			}
			if err := s.rest(away); err != nil {
				return err
			}
			s.tell("SIGCONT of %s", m.name)
			m.changes.Add(1)
			return resume(m.cmd.Process)
		},
	},
	{
		Name: "rolling-restart", Short: "the servers are restarted one after the other, as in an upgrade",
		Expect:   "In production: nothing at look-ups and registrations; keys and locks wait a second or two when the leader's turn comes. Wait for each server to be whole before the next.",
		promises: with(promise{gap: 5 * time.Second}), whole: 15 * time.Second,
		play: func(s *stage) error {
			for _, m := range s.servers {
				s.tell("%s ends in order, and starts again", m.name)
				if err := m.end(); err != nil {
					return err
				}
				if err := m.run(s.ctx, s.o.Binary); err != nil {
					return err
				}
				if err := s.await(m.name+" is whole", 15*time.Second, s.whole); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{
		Name: "restart-all", Short: "all servers are killed at once, and start again",
		Expect:   "In production: agents answer look-ups from memory and take registrations for any time; keys and locks are refused until the servers are back.",
		promises: with(promise{fail: true}), whole: 15 * time.Second,
		play: func(s *stage) error {
			s.tell("kill -9 of all servers")
			for _, m := range s.servers {
				m.kill()
			}
			if err := s.rest(away); err != nil {
				return err
			}
			s.tell("all servers start again")
			return s.together(s.servers)
		},
	},
	{
		Name: "agent-loss", Short: "an agent restarts, and then dies with its host",
		Expect:   "In production: nothing when an agent is back within 5 s. The services of a host that dies are gone 5 to 6 s later, everywhere, and come back with it. A lock that its program held is free then too.",
		promises: map[kind]promise{lookUps: never[lookUps], registrations: never[registrations], keys: {gap: 5 * time.Second}, locks: {gap: 10 * time.Second}}, whole: 15 * time.Second,
		play: (*stage).loseAgent,
	},
	{
		Name: "mass-expiry", Short: "most programs with a lease fall silent at the same time",
		Expect:   "In production: one that dies is gone after its TTL. When more than half of a service fall silent at once they stay in all answers, for 10 minutes or until `skerry guard release`.",
		promises: with(promise{gap: 5 * time.Second}), whole: 15 * time.Second,
		play: (*stage).fallSilent,
	},
	{
		Name: "store-full", Short: "the quorum store reaches its quota, and gets room again",
		Expect:   "In production: new keys and locks are refused with the quota's name; reads, deletions, look-ups and registrations go on. Writes are taken within a minute after keys were deleted. Alert long before: doc/cluster.md.",
		promises: with(promise{fail: true}), whole: time.Minute, quota: 64 << 20,
		play: (*stage).fillStore,
	},
	{
		Name: "lost-majority", Short: "two of three servers are lost for good, and the third is recovered",
		Expect:   "In production: look-ups and registrations go on, keys and locks are refused, until `skerry operator quorum recover` at the survivor. New servers join it by themselves.",
		promises: with(promise{fail: true}), whole: 30 * time.Second,
		play: (*stage).loseMajority,
	},
}

// comeBack lets a process that was killed start again, after a while.
func (s *stage) comeBack(m *member) error {
	if err := s.rest(away); err != nil {
		return err
	}
	s.tell("%s starts again", m.name)
	return m.run(s.ctx, s.o.Binary)
}

// loseAgent restarts an agent within its TTL, and then loses it for longer.
func (s *stage) loseAgent() error {
	lost := s.agents[1]
	s.tell("kill -9 of the agent %s, which starts again at once", lost.name)
	lost.kill()
	if err := lost.run(s.ctx, s.o.Binary); err != nil {
		return err
	}
	if err := s.await(lost.name+" is whole", 15*time.Second, s.whole); err != nil {
		return err
	}
	var ids []string
	for n := range perAgent {
		ids = append(ids, fmt.Sprintf("%s-%s-%d", shop, lost.name, n+1))
	}
	s.tell("kill -9 of the agent %s, as when its host dies", lost.name)
	s.load.leaves(shop, ids...)
	s.load.dead(shop, ids...)
	lost.kill()
	err := s.fact("the services of the lost host were gone everywhere", 6*time.Second, func() error {
		for _, m := range slices.Concat(s.servers, s.agents[:1]) {
			if err := s.load.absent(m, shop); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.tell("%s starts again", lost.name)
	if err := lost.run(s.ctx, s.o.Binary); err != nil {
		return err
	}
	s.load.lives(shop, ids...)
	return nil
}

const (
	lease    = "lease" // the service of the programs with leases
	leases   = 8
	leaseTTL = 3 * time.Second
)

// fallSilent lets one program with a lease die, and then most of them.
func (s *stage) fallSilent() error {
	var quiet []func()
	var ids []string
	for n := range leases {
		id := fmt.Sprint(lease, "-", n+1)
		stop, err := s.load.beats(s.agents[n%agents], id)
		if err != nil {
			return err
		}
		ids, quiet = append(ids, id), append(quiet, stop)
	}
	s.load.lives(lease, ids...)
	if err := s.await("all show the leases", time.Minute, s.whole); err != nil {
		return err
	}
	s.tell("one of %d programs with a lease of %v dies", leases, leaseTTL)
	s.load.dead(lease, ids[0])
	quiet[0]()
	if err := s.fact("its instance was gone everywhere", leaseTTL+2*time.Second, s.noDead); err != nil {
		return err
	}
	silent := ids[1:7]
	s.tell("%d of the others fall silent at once", len(silent))
	for _, stop := range quiet[1:7] {
		stop()
	}
	if err := s.rest(2*leaseTTL + time.Second); err != nil {
		return err
	}
	var guarded struct{ Held int }
	if _, err := s.servers[0].ask(s.ctx, http.MethodGet, "/v1/skerry/guard", nil, &guarded); err != nil {
		return err
	}
	s.tell("the guard holds %d, and all are in the answers still", guarded.Held)
	if guarded.Held != len(silent) {
		s.load.fault("the guard holds %d of %d", guarded.Held, len(silent))
	}
	s.tell("skerry guard release: they are really dead")
	s.load.dead(lease, silent...)
	if _, err := s.servers[0].ask(s.ctx, http.MethodPut, "/v1/skerry/guard/release?service="+lease, nil, nil); err != nil {
		return err
	}
	return s.fact("the released were gone everywhere", 2*time.Second, s.noDead)
}

// noDead reports whether a process shows a lease that is dead.
func (s *stage) noDead() error {
	for _, m := range slices.Concat(s.servers, s.agents) {
		if err := s.load.absent(m, lease); err != nil {
			return err
		}
	}
	return nil
}

// fillStore writes keys until the store refuses them, and deletes them again.
func (s *stage) fillStore() error {
	s.tell("keys are written until the quota of %d MiB is reached", s.drill.quota>>20)
	value := make([]byte, 300<<10) // in JSON it is a third longer
	for i := range value {
		value[i] = byte(rand.Uint32())
	}
	refused := ""
	for n := 0; refused == ""; n++ {
		if _, err := s.agents[0].ask(s.ctx, http.MethodPut, fmt.Sprint("/v1/kv/drill/fill/", n), value, nil); err != nil {
			if s.ctx.Err() != nil {
				return s.ctx.Err()
			}
			refused = err.Error()
		}
	}
	s.tell("a write is refused: %s", refused)
	if !strings.Contains(refused, "quorum.quota") {
		s.load.fault("the refusal does not name quorum.quota: %s", refused)
	}
	if err := s.rest(away / 2); err != nil {
		return err
	}
	s.tell("the keys are deleted")
	_, err := s.agents[0].ask(s.ctx, http.MethodDelete, "/v1/kv/drill/fill?recurse", nil, nil)
	return err
}

// loseMajority loses two servers for good, and recovers the third.
func (s *stage) loseMajority() error {
	survivor, lost := s.servers[0], s.servers[1:]
	s.tell("kill -9 of %s and %s: their disks are lost too", lost[0].name, lost[1].name)
	for _, m := range lost {
		m.kill()
	}
	s.servers = []*member{survivor}
	if err := s.rest(away); err != nil {
		return err
	}
	s.tell("%s ends; skerry operator quorum recover -data-dir %s", survivor.name, survivor.data())
	if err := survivor.end(); err != nil {
		return err
	}
	recover := exec.CommandContext(s.ctx, s.o.Binary, "operator", "quorum", "recover", "-yes", "-data-dir", survivor.data())
	if out, err := recover.CombinedOutput(); err != nil {
		return fmt.Errorf("recovering %s: %w: %s", survivor.name, err, out)
	}
	if err := survivor.run(s.ctx, s.o.Binary); err != nil {
		return err
	}
	s.tell("%s decides alone; two new servers join it", survivor.name)
	fresh := s.servers[1:]
	for n := range servers - 1 {
		m, err := s.newServer(fmt.Sprint("s", servers+n+1), servers)
		if err != nil {
			return err
		}
		fresh = append(fresh, m)
	}
	return s.together(fresh)
}
