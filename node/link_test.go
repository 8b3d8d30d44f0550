package node

import (
	"bytes"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/door"
	"github.com/skerryhq/skerry/test/program"
)

// single configures a server that is alone and takes agents.
func single(t *testing.T) Config {
	return Config{
		Door: door.Config{HTTP: []string{"127.0.0.1:0"}}, Role: ServerRole, DataDir: t.TempDir(),
		Cluster: Cluster{Bind: "127.0.0.1", ServerPort: program.Port(t)},
	}
}

// joins configures an agent of a server.
func joins(t *testing.T, at *Node) Config {
	cfg := Config{Door: door.Config{HTTP: []string{"127.0.0.1:0"}}, Role: AgentRole, DataDir: t.TempDir()}
	cfg.Self.Name, cfg.Self.ID = "web1", "33333333-2222-3333-4444-555555555555"
	cfg.Cluster.Join = []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(at.cfg.Cluster.ServerPort))}
	return cfg
}

// A server that is alone shows what an agent has, and loses the agent that falls silent.
func TestAServerAloneTakesAgents(t *testing.T) {
	s := running(t, single(t), nil)
	a := running(t, joins(t, s), nil)
	if err := program.Await(time.Minute, a.attachedReady); err != nil {
		t.Fatal(err)
	}
	if err := a.kept.agent.RegisterService(t.Context(), skerry.Registration{Instance: &skerry.Instance{ID: "web-1", Service: "web", Port: 80}}); err != nil {
		t.Fatal(err)
	}
	shows := func(want int) {
		t.Helper()
		late := time.After(time.Minute)
		for {
			_, changed := s.table.Watch(skerry.Topic{Kind: skerry.TopicService, Name: "web"})
			if len(s.table.Service("web").Entries) == want {
				return
			}
			select {
			case <-changed:
			case <-late:
				t.Fatalf("the server never shows %d instances", want)
			}
		}
	}
	shows(1)
	a.detach()
	shows(0)
}

// A port that is taken keeps a server that is alone from starting only where it was set.
func TestAPortForAgentsThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, goOn := range []bool{true, false} {
		cfg := single(t)
		cfg.Cluster.ServerPort, cfg.Cluster.GoOn = taken.Addr().(*net.TCPAddr).Port, goOn
		cfg = completed(cfg)
		var log bytes.Buffer
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		n, err := New(t.Context(), cfg, nil, func() {})
		switch {
		case goOn && (err != nil || !strings.Contains(log.String(), "takes no agents")):
			t.Errorf("a port by default: %v, the log has %s", err, &log)
		case !goOn && (err == nil || !strings.Contains(err.Error(), "ports.server")):
			t.Errorf("a port that was set: %v", err)
		}
		if err == nil {
			n.Close()
		}
	}
}
