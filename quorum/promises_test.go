package quorum

import (
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/quorum/kvtest"
)

// Each member of several keeps the promises of a store: one that leads, one that
// follows, and one without a vote.
func TestMembersOfSeveralKeepThePromises(t *testing.T) {
	t.Parallel()
	stores := openAll(t, peersFor(t, 3)...)
	at := leaderOf(t, stores)
	next := peerFor(t, "learner")
	list, err := membersOf(t, stores[at]).AddLearner(t.Context(), next.Peers.Advertise)
	if err != nil {
		t.Fatal(err)
	}
	next.Peers.Join, next.Peers.Members = true, JoinList(list, next.Peers)
	learner := openAll(t, next)[0]
	if !learner.member.etcd.Server.IsLearner() {
		t.Fatal("it is no learner: the test shows nothing")
	}
	for name, s := range map[string]*Store{"leader": stores[at], "follower": stores[(at+1)%3], "learner": learner} {
		t.Run(name, func(t *testing.T) {
			kvtest.Run(t, func(t *testing.T) skerry.KV {
				if _, err := s.Update(t.Context(), func(tx skerry.Tx) error { tx.DeleteAll("kvtest/"); return nil }); err != nil {
					t.Fatal(err)
				}
				return s
			}, flip)
		})
	}
}
