package node

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/door"
	"github.com/skerryhq/skerry/test/program"
)

// first configures a server that forms a cluster of one, to which others may come.
func first(t *testing.T) Config {
	port := program.Port(t)
	return Config{
		Door: door.Config{HTTP: []string{"127.0.0.1:0"}}, Role: PeerRole, DataDir: t.TempDir(),
		Record:  Record{Address: "127.0.0.1", ServerPort: port},
		Cluster: Cluster{Bind: "127.0.0.1", Expect: 1, ServerPort: port, QuorumPort: program.Port(t), BusPort: program.Port(t)},
	}
}

func TestAServerThatFormsAClusterOfOne(t *testing.T) {
	n := running(t, first(t), nil)
	if err := n.store.kv.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	members := n.served.cluster.Members()
	leader, ok := n.served.cluster.Leader()
	if len(members) != 1 || members[0].Name != "n1" || !members[0].Alive || !members[0].Voter || !ok || leader.Self != members[0].Self {
		t.Errorf("members %+v, leader %+v, %v", members, leader, ok)
	}
	if _, known := n.served.cluster.LastContact(); !known {
		t.Error("the leader itself does not know a leader")
	}
	if n.served.announcer == skerry.Announcer(n.table) {
		t.Error("owners announce to the table, past the registry")
	}
}

// Numbers of first members that are not safe are told.
func TestUnsafeNumbersOfFirstMembers(t *testing.T) {
	for _, tt := range []struct {
		expect, joins int
		unsafe        bool
	}{{0, 5, false}, {1, 1, false}, {1, 2, true}, {2, 2, true}, {3, 3, false}, {3, 5, false}, {3, 6, true}, {5, 5, false}} {
		var log bytes.Buffer
		n := &Node{log: slog.New(slog.NewTextHandler(&log, nil))}
		n.cfg.Cluster = Cluster{Expect: tt.expect, Join: make([]string, tt.joins)}
		n.warnOfExpect()
		if warned := log.Len() > 0; warned != tt.unsafe {
			t.Errorf("expect %d, %d to join: warned %v", tt.expect, tt.joins, warned)
		}
	}
}
