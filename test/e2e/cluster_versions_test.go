package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/bus"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/test/program"
)

// newer is a server of a later release, as others see it on the bus.
type newer struct {
	*testing.T
	name   string
	speaks cluster.Range
	life   cluster.Life
	bus    *bus.Bus
}

func newerServer(t *testing.T, name string, speaks cluster.Range, busOf int) *newer {
	t.Helper()
	port := program.Port(t)
	b, err := bus.Start(bus.Config{
		Self: name, Datacenter: "dc1", Listen: local(port), Advertise: local(port), Log: slog.New(slog.DiscardHandler),
	}, func(string, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	b.AddPeers(local(busOf))
	return &newer{t, name, speaks, cluster.Life(time.Now().UnixMilli()), b}
}

// send sends a message with fields that this release does not know, at each level.
func (n *newer) send(kind string, m any) {
	n.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		n.Fatal(err)
	}
	const novel = `{"Novel":{"deep":[1,2]},`
	text = bytes.ReplaceAll(text, []byte("{"), []byte(novel))
	text = bytes.ReplaceAll(text, []byte(",}"), []byte("}"))
	if err := n.bus.Send("", append([]byte(kind+" "), text...)); err != nil {
		n.Fatal(err)
	}
}

// announce sends a tick, a message of a kind that is not known here, and the log with one
// lease.
func (n *newer) announce() {
	n.send("tick", map[string]any{"Head": cluster.Pos{Life: n.life, Seq: 1}, "Hears": []string{n.name, "s1", "s2"}, "Speaks": n.speaks})
	n.send("novelty", map[string]any{"A": 1})
	set := &skerry.Set{
		Node:      &skerry.Node{Name: "node-" + n.name, Address: "192.0.2.9"},
		Instances: []*skerry.Instance{{ID: "of-" + n.name, Service: "later", Port: 9}},
	}
	v := skerry.Version{Epoch: uint64(n.life), Seq: 1}
	record := cluster.Record{
		Owner: skerry.OwnerID("lease/" + n.name), Kind: skerry.LeaseOwner, TTL: time.Hour, Version: v, Digest: set.Digest(), Set: set,
		Stand: cluster.Stand{Epoch: v.Epoch, Attach: 1, State: cluster.Live, Home: cluster.ServerID(n.name), By: cluster.ServerID(n.name)},
	}
	n.send("log", map[string]any{"First": cluster.Pos{Life: n.life, Seq: 1}, "Records": []cluster.Record{record}})
}

// Servers of a later release are understood as far as they can be: kinds of messages and
// fields that are new are skipped. One that speaks no common version is refused, and the
// log names both.
func TestServersOfALaterRelease(t *testing.T) {
	t.Parallel()
	at, buses := []string{}, []int{}
	var configs []map[string]any
	for range 2 {
		port := program.Port(t)
		at, buses = append(at, local(port)), append(buses, program.Port(t))
		configs = append(configs, map[string]any{"server": port, "bus": buses[len(buses)-1]})
	}
	var all []*agent
	for i, ports := range configs {
		config := server(i+1, 2, 0, at)
		config["ports"] = ports
		all = append(all, start(t, config))
	}
	for _, a := range all {
		a.finds("consul", "consul", "consul")
	}
	overlapping := newerServer(t, "s8", cluster.Range{Min: 1, Max: 7}, buses[0])
	await(t, "what a later release says is understood", func() error {
		overlapping.announce()
		for _, a := range all {
			if got := a.instances("later"); len(got) != 1 {
				return fmt.Errorf("%s shows %v", a.http, got)
			}
		}
		return nil
	})
	if metrics := all[0].ok("GET", "/v1/agent/metrics?format=prometheus", "").body; strings.Contains(metrics, "skerry_cluster_frames_skipped_total 0\n") {
		t.Error("no frame was skipped")
	}
	if log, err := os.ReadFile(all[0].log.Name()); err != nil || bytes.Contains(log, []byte("speaks no version")) {
		t.Errorf("a server with a common version is refused: %v", err)
	}

	refused := newerServer(t, "s9", cluster.Range{Min: 6, Max: 7}, buses[0])
	await(t, "a server without a common version is refused", func() error {
		refused.send("tick", map[string]any{"Head": cluster.Pos{Life: refused.life}, "Hears": []string{"s9", "s1", "s2"}, "Speaks": refused.speaks})
		for _, a := range all {
			log, err := os.ReadFile(a.log.Name())
			if err != nil {
				return err
			}
			if !versionsNamed(log) {
				return errors.New("the log does not name both versions")
			}
		}
		return nil
	})
	refused.announce()
	overlapping.announce()
	all[0].register(`{"ID": "after", "Name": "after", "Port": 1}`)
	all[1].finds("after", "after") // frames of others were taken since
	for _, a := range all {
		if got := a.instances("later"); len(got) != 1 || !strings.HasPrefix(got[0], "of-s8") {
			t.Errorf("%s shows %v", a.http, got)
		}
	}
}

// versionsNamed reports whether a line of a log refuses s9 and names both ranges.
func versionsNamed(log []byte) bool {
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "speaks no version") && strings.Contains(line, "server=s9") && strings.Contains(line, `"its versions"="6 to 7" "own versions"="1 to 2"`) {
			return true
		}
	}
	return false
}
