package catalogtest

import (
	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
)

// maxIndex is the greatest whole number that JavaScript and Lua keep exact.
const maxIndex = 1 << 53

var topicKinds = []skerry.Topic{
	{Kind: skerry.TopicService, Name: "web"}, {Kind: skerry.TopicService, Name: "unknown"},
	{Kind: skerry.TopicNode, Name: "n"}, {Kind: skerry.TopicNode, Name: "unknown"},
	{Kind: skerry.TopicNodes}, {Kind: skerry.TopicServices}, {Kind: skerry.TopicChecks}, {Kind: skerry.TopicAll},
}

var indexProofs = []proof{
	{name: "never 0, at most 2^53, never backwards", test: func(w *world) {
		last := map[skerry.Topic]uint64{}
		look := func(what string) {
			w.Helper()
			for _, topic := range topicKinds {
				index, _ := w.c.Watch(topic)
				if index == 0 || index > maxIndex || index < last[topic] || w.c.Foreign(index) {
					w.Errorf("after %s: index %d of %v, which was %d", what, index, topic, last[topic])
				}
				last[topic] = index
			}
			if v := w.c.Service("web"); v.Index != last[topicKinds[0]] {
				w.Errorf("after %s: the view has index %d, the topic %d", what, v.Index, last[topicKinds[0]])
			}
			if v := w.c.Node("n"); v != nil && v.Index != last[topicKinds[2]] {
				w.Errorf("after %s: the node's view has index %d, the topic %d", what, v.Index, last[topicKinds[2]])
			}
		}
		look("the start")
		a := w.agent("a", node("n"))
		b := w.agent("b", node("m")).with(inst("y", "web"))
		for _, step := range []struct {
			what string
			do   func()
		}{
			{"a node", func() { a.announce() }},
			{"an instance", func() { a.with(inst("x", "web")).announce() }},
			{"another owner", func() { b.announce() }},
			{"a check", func() { a.with(inst("x", "web"), chk("c", "x", skerry.Critical)).announce() }},
			{"a node's check", func() { a.with(inst("x", "web"), chk("c", "", skerry.Critical)).announce() }},
			{"a move", func() { a.set.Node = node("m"); a.announce() }},
			{"a move back", func() { a.set.Node = node("n"); a.announce() }},
			{"a withdrawal", func() { w.withdraw("b") }},
			{"an empty service", func() { a.with().announce() }},
			{"a return", func() { a.with(inst("x", "web")).announce() }},
			{"the last withdrawal", func() { w.withdraw("a") }},
		} {
			step.do()
			look(step.what)
		}
	}},
	{name: "indexes of other servers and other starts are foreign", test: func(w *world) {
		w.agent("a", node("n")).announce()
		index, _ := w.c.Watch(skerry.Topic{Kind: skerry.TopicAll})
		for what, foreign := range map[string]uint64{
			"another tag": index + 1, "the future": index + 64, "an earlier start": index - 1<<30, "1": 1, "0": 0,
		} {
			if !w.c.Foreign(foreign) {
				w.Errorf("%s: %d is not foreign beside %d", what, foreign, index)
			}
		}
		if w.c.Foreign(index) {
			w.Error("its own index is foreign")
		}
	}},
	{name: "a later start begins above", test: func(w *world) {
		first := w.cfg
		if first.FirstIndex == 0 {
			first.FirstIndex = catalog.FirstIndex(w.clock.Now(), 0, 0)
		}
		a := w.agent("a", node("n"))
		for range 100 {
			a.set.Node = node("n")
			a.set.Node.Meta = map[string]string{"n": string(rune(w.c.Index()))}
			a.announce()
		}
		last := w.c.Index()
		back := w.clock.Now().AddDate(0, -1, 0)
		if again := catalog.FirstIndex(back, 0, last); again <= last {
			w.Errorf("with the clock gone back a month, the next start begins at %d, below %d", again, last)
		}
	}},
}
