package catalogtest

import (
	"time"

	"github.com/skerryhq/skerry"
)

// A node that several owners announce: an agent and outside programs, or several
// programs with leases.
var sharedProofs = []proof{
	{name: "external records are shown beside owned ones", test: func(w *world) {
		w.agent("a", node("n")).with(inst("x", "web")).announce()
		w.external("e", node("n")).with(inst("y", "web"), inst("z", "db")).announce()
		w.shows("web", "n/x; n/y")
		w.shows("db", "n/z")
		if v := w.c.Node("n"); len(v.Instances) != 3 {
			w.Errorf("the node has %d instances", len(v.Instances))
		}
	}},
	{name: "the owner's record wins in either order", test: func(w *world) {
		owned, foreign := inst("x", "web", "owned"), inst("x", "web", "external")
		e := w.external("b", node("n")).with(foreign)
		e.announce()
		tags := func() string { return w.c.Service("web").Entries[0].Instance.Tags[0] }
		if tags() != "external" {
			w.Fatal("an external record alone is not shown")
		}
		a := w.agent("z", node("n")).with(owned)
		a.announce()
		w.shows("web", "n/x")
		if tags() != "owned" || w.c.Node("n").Instances[0].Tags[0] != "owned" {
			w.Error("the external record is shown in place of the owner's")
		}
		web := w.watch(skerry.TopicService, "web")
		e.with(inst("x", "web", "other")).announce()
		w.sleeps(web, "a hidden record")
		w.withdraw("z")
		w.wakes(web, "the record that is seen again")
		if tags() != "other" {
			w.Error("the external record did not come back")
		}
	}},
	{name: "external records keep the stamps that they bring", test: func(w *world) {
		at := func(created, modified uint64) skerry.Stamp {
			return skerry.Stamp{Created: created, Modified: modified}
		}
		n, i, c := node("n"), inst("x", "web"), chk("c", "x", skerry.Passing)
		n.Stamp, i.Stamp, c.Stamp = at(3, 4), at(5, 6), at(7, 8)
		e := w.external("e", n).with(i, c)
		e.announce()
		got := w.c.Service("web").Entries[0]
		if got.Node.Stamp != at(3, 4) || got.Instance.Stamp != at(5, 6) || got.Checks[0].Stamp != at(7, 8) {
			w.Errorf("stamps %v, %v, %v", got.Node.Stamp, got.Instance.Stamp, got.Checks[0].Stamp)
		}
		web := w.watch(skerry.TopicService, "web")
		again := chk("c", "x", skerry.Passing)
		again.Stamp = at(7, 9)
		e.with(i, again).announce()
		w.wakes(web, "a check that was written anew")
		if got := w.c.Service("web").Entries[0].Checks[0].Stamp; got != at(7, 9) {
			w.Errorf("the new stamp is %v", got)
		}
		owned := node("n")
		owned.Stamp = at(1, 1)
		w.agent("a", owned).announce()
		if got := w.c.Node("n").Node; got.Created <= 9 || got.Modified <= 9 {
			w.Errorf("an agent's record kept the stamp %v", got.Stamp)
		}
	}},
	{name: "an outranked record of another service is not shown", test: func(w *world) {
		e := w.external("e", node("n")).with(inst("x", "api"))
		e.announce()
		a := w.agent("a", node("n")).with(inst("x", "web"))
		a.announce()
		w.shows("web", "n/x")
		w.shows("api", "")
		if names := w.c.Services(); len(names) != 1 || names[0] != "web" {
			w.Errorf("services are %v", names)
		}
		a.with().announce()
		w.shows("web", "")
		w.shows("api", "n/x")
		a.with(inst("x", "web")).announce()
		e.with(inst("x", "web")).announce()
		e.with().announce()
		w.shows("web", "n/x")
		w.shows("api", "")
	}},
	{name: "checks on another owner's instance", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"), chk("m", "x", skerry.Passing))
		a.announce()
		e := w.external("e", node("n")).with(chk("c", "x", skerry.Critical), chk("nc", "", skerry.Warning))
		web := w.watch(skerry.TopicService, "web")
		e.announce()
		w.wakes(web, "another owner's check")
		w.shows("web", "n/x nc=warning c=critical m=passing")
		web = w.watch(skerry.TopicService, "web")
		e.with(chk("c", "x", skerry.Passing)).announce()
		w.wakes(web, "another owner's check")
		w.shows("web", "n/x c=passing m=passing")
		w.withdraw("e")
		w.shows("web", "n/x m=passing")
	}},
	{name: "the owner's check wins, whatever it judges", test: func(w *world) {
		e := w.external("e", node("n")).with(chk("c", "x", skerry.Critical))
		e.announce()
		a := w.agent("a", node("n")).with(inst("x", "web"), inst("y", "db"))
		a.announce()
		w.shows("web", "n/x c=critical")
		web := w.watch(skerry.TopicService, "web")
		a.with(inst("x", "web"), inst("y", "db"), chk("c", "y", skerry.Passing)).announce()
		w.wakes(web, "a check that is hidden")
		w.shows("web", "n/x")
		w.shows("db", "n/y c=passing")
		a.with(inst("x", "web"), inst("y", "db")).announce()
		w.shows("web", "n/x c=critical")
		w.shows("db", "n/y")
	}},
	{name: "the node's record is its owner's", test: func(w *world) {
		far, near := node("n"), node("N")
		far.Address, near.Address = "192.0.2.8", "192.0.2.9"
		e := w.external("e", far).with(inst("y", "web"))
		e.announce()
		nodes := w.watch(skerry.TopicNodes, "")
		web := w.watch(skerry.TopicService, "web")
		w.agent("z", near).announce()
		w.wakes(nodes, "another record of the node")
		w.wakes(web, "another record of the node")
		if got := w.c.Node("n").Node.Address; got != near.Address || w.c.Service("web").Entries[0].Address() != near.Address {
			w.Errorf("the node's address is %s", got)
		}
		nodes, web = w.watch(skerry.TopicNodes, ""), w.watch(skerry.TopicService, "web")
		farther := node("n")
		farther.Address = "192.0.2.7"
		e.set.Node = farther
		e.announce()
		w.sleeps(nodes, "a hidden record of the node")
		w.sleeps(web, "a hidden record of the node")
		w.withdraw("z")
		w.wakes(nodes, "the record that is seen again")
		if got := w.c.Node("N").Node.Address; got != farther.Address {
			w.Errorf("the node's address is %s", got)
		}
		if len(w.c.Nodes()) != 1 {
			w.Error("the node is there twice")
		}
	}},
	{name: "a program that comes and goes wakes only its own services", test: func(w *world) {
		w.lease("a", time.Minute, node("n")).with(inst("x", "web")).announce()
		web := w.watch(skerry.TopicService, "web")
		w.lease("b", time.Minute, node("n")).with(inst("y", "db"), chk("c", "y", skerry.Passing)).announce()
		w.withdraw("b")
		w.sleeps(web, "another program on the node")
		w.shows("web", "n/x")
	}},
	{name: "the node vanishes with its last owner", test: func(w *world) {
		w.lease("a", time.Minute, node("n")).announce()
		w.external("b", node("n")).announce()
		w.withdraw("a")
		if w.c.Node("n") == nil {
			w.Error("the node left with its first owner")
		}
		w.withdraw("b")
		if w.c.Node("n") != nil {
			w.Error("the node stayed without owner")
		}
	}},
	{name: "a set moves to another node", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"), chk("c", "x", skerry.Passing), chk("nc", "", skerry.Warning))
		a.announce()
		w.external("e", node("n")).with(inst("x", "web", "external"), inst("y", "web")).announce()
		w.agent("b", node("m")).with(inst("z", "web")).announce()
		web, n, m := w.watch(skerry.TopicService, "web"), w.watch(skerry.TopicNode, "n"), w.watch(skerry.TopicNode, "m")
		w.shows("web", "m/z; n/x nc=warning c=passing; n/y nc=warning")
		a.set.Node = node("m")
		a.announce()
		w.wakes(web, "a move")
		w.wakes(n, "a move")
		w.wakes(m, "a move")
		w.shows("web", "m/x nc=warning c=passing; m/z nc=warning; n/x; n/y")
		a.set.Node = node("elsewhere")
		a.announce()
		w.shows("web", "elsewhere/x nc=warning c=passing; m/z; n/x; n/y")
		if len(w.c.Nodes()) != 3 {
			w.Errorf("%d nodes", len(w.c.Nodes()))
		}
	}},
}

var readProofs = []proof{
	{name: "a view is kept until its service changes", test: func(w *world) {
		a := w.agent("a", node("n")).with(inst("x", "web"), inst("y", "db"))
		a.announce()
		web, db := w.c.Service("web"), w.c.Service("db")
		a.change(skerry.Delta{Instances: []*skerry.Instance{inst("x", "web", "v2")}})
		if w.c.Service("db") != db {
			w.Error("another service's change made a new view")
		}
		if w.c.Service("web") == web || len(web.Entries[0].Instance.Tags) != 0 {
			w.Error("a change was made in the old view, or not at all")
		}
	}},
	{name: "entries are in order of node and ID", test: func(w *world) {
		w.agent("b", node("b")).with(inst("1", "web"), inst("3", "web"), inst("2", "web")).announce()
		w.agent("a", node("a")).with(inst("9", "web")).announce()
		w.shows("web", "a/9; b/1; b/2; b/3")
	}},
	{name: "names of nodes have no case", test: func(w *world) {
		w.agent("a", node("Node-A")).with(inst("x", "web"), inst("a", "web"), chk("c", "x", skerry.Passing), chk("b", "", skerry.Passing)).announce()
		v := w.c.Node("node-a")
		if v == nil || v.Node.Name != "Node-A" || len(v.Instances) != 2 || v.Instances[0].ID != "a" || v.Checks[0].ID != "b" {
			w.Fatalf("node %+v", v)
		}
		if w.c.Node("node-b") != nil {
			w.Error("an unknown node is there")
		}
	}},
	{name: "lists are in order", test: func(w *world) {
		w.agent("b", node("b")).with(inst("x", "web"), inst("y", "api")).announce()
		w.agent("a", node("a")).with(inst("x", "db")).announce()
		if names := w.c.Services(); len(names) != 3 || names[0] != "api" || names[2] != "web" {
			w.Errorf("services %v", names)
		}
		if nodes := w.c.Nodes(); len(nodes) != 2 || nodes[0].Node.Name != "a" {
			w.Errorf("nodes %v", nodes)
		}
	}},
	{name: "addresses", test: func(w *world) {
		n := node("n")
		n.Address, n.TaggedAddresses = "192.0.2.1", map[string]string{"lan": "192.0.2.1", "wan": "198.51.100.1", "wan_ipv4": "198.51.100.1", "lan_ipv6": "2001:db8::1"}
		x, y := inst("x", "web"), inst("y", "web")
		y.Address = "192.0.2.1"
		a := w.agent("a", n).with(x, y)
		a.announce()
		hidden := inst("y", "web")
		hidden.Address = "203.0.113.1"
		w.external("e", node("n")).with(hidden).announce()
		for ip, want := range map[string]int{"192.0.2.1": 2, "198.51.100.1": 1, "2001:db8::1": 1, "2001:db8:0::1": 1, "::ffff:192.0.2.1": 2, "203.0.113.1": 0, "no address": 0} {
			if got := w.c.Lookup(ip); len(got) != want {
				w.Errorf("%s is held by %d, want %d", ip, len(got), want)
			}
		}
		held := w.c.Lookup("192.0.2.1")
		if held[0].Instance != nil || held[1].Instance == nil || held[1].Instance.ID != "y" || held[1].Node.Name != "n" {
			w.Errorf("holders %+v", held)
		}
		w.withdraw("a")
		if len(w.c.Lookup("203.0.113.1")) != 1 || len(w.c.Lookup("198.51.100.1")) != 0 {
			w.Error("the addresses of an owner that left are still there, or those it hid are not")
		}
	}},
}
