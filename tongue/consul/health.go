package consul

import (
	"encoding/json"
	"strings"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// healthService answers the most used endpoint. For the usual queries the whole body is
// kept on the view, so that a request is a look-up and a write.
func (q *request) healthService() error {
	if q.rest == "" {
		return badRequest("Missing service name")
	}
	if q.p.passingErr != nil {
		return q.p.passingErr
	}
	name := q.rest
	if q.p.peer != "" {
		name = noService // there is no peer that could have it
	}
	q.asks(name)
	if err := q.block(skerry.Topic{Kind: skerry.TopicService, Name: name}); err != nil {
		return err
	}
	if q.p.cached {
		q.cached()
	}
	shown, v, err := q.shownView(name)
	if err != nil {
		return err
	}
	key, shared := q.sharedAnswer(v)
	var failed error
	render := func() []byte {
		pipeline, sieve, err := q.pipeline()
		if err != nil {
			failed = err
			return nil
		}
		entries := pipeline.Select(q.entries(v))
		if failed = sieve.failed(); failed != nil {
			return nil
		}
		var body []byte
		body, failed = q.renderEntries(entries)
		return body
	}
	var body, packed []byte
	if shared {
		body = key.memo(v, false, render)
	} else {
		body = render()
	}
	if failed != nil {
		return failed
	}
	if shared && len(body) >= minPacked && acceptsGzip(q.r) {
		packed = key.memo(v, true, func() []byte { return compress(body) })
	}
	kept := len(body) - len("[]")
	q.meta(shown.Index)
	q.cause(shown, kept, func() skerry.Cause {
		why := func() []byte {
			pipeline, _, _ := q.pipeline() // the answer was rendered: there is no error
			return []byte(q.emptied(shown, pipeline)())
		}
		if !shared {
			return skerry.Cause(why())
		}
		return skerry.Cause(v.MemoChosen(skerry.MemoKey("consul/cause", key.encode(false)), why))
	})
	q.gets(name, v.Index)
	q.send(200, body, packed)
	return nil
}

func (q *request) renderEntries(entries []*skerry.Entry) ([]byte, error) {
	entries = q.sortEntries(entries)
	out := make([]wire.Entry, len(entries))
	for i, e := range entries {
		out[i] = wire.EntryOf(e)
	}
	return json.Marshal(out)
}

func (q *request) healthNode() error {
	if q.rest == "" {
		return bare(badRequest("Missing node name"))
	}
	topic := skerry.Topic{Kind: skerry.TopicNode, Name: q.rest}
	return q.checks(topic, func(add func(*skerry.Node, *skerry.Check)) error {
		if v := q.f.b.Catalog.Node(q.rest); v != nil {
			for _, c := range v.Checks {
				add(v.Node, c)
			}
		}
		return nil
	})
}

func (q *request) healthChecks() error {
	if q.rest == "" {
		return bare(badRequest("Missing service name"))
	}
	topic := skerry.Topic{Kind: skerry.TopicService, Name: q.rest}
	q.asks(q.rest)
	return q.checks(topic, func(add func(*skerry.Node, *skerry.Check)) error {
		v, err := q.discover(q.rest)
		if err != nil {
			return err
		}
		q.gets(q.rest, v.Index)
		for _, e := range v.Entries {
			for _, c := range e.Checks {
				if c.ServiceID != "" {
					add(e.Node, c)
				}
			}
		}
		return nil
	})
}

func (q *request) healthState() error {
	if q.rest == "" {
		return bare(badRequest("Missing check state"))
	}
	return q.checks(skerry.Topic{Kind: skerry.TopicChecks}, func(add func(*skerry.Node, *skerry.Check)) error {
		for _, v := range q.f.b.Catalog.Nodes() {
			for _, c := range v.Checks {
				if q.rest == "any" || strings.EqualFold(string(c.Status), q.rest) {
					add(v.Node, c)
				}
			}
		}
		return nil
	})
}

// checks answers with a list of checks.
func (q *request) checks(topic skerry.Topic, each func(add func(*skerry.Node, *skerry.Check)) error) error {
	if err := q.p.query(); err != nil {
		return bare(err)
	}
	if err := q.block(topic); err != nil {
		return err
	}
	index := q.index(topic)
	list := []wire.Check{}
	want := q.p.metaFilter()
	err := each(func(n *skerry.Node, c *skerry.Check) {
		if n.HasMeta(want) {
			if !q.seesCheck(n.Name, c) {
				q.leftOut()
				return
			}
			list = append(list, wire.CheckOf(n.Name, c))
		}
	})
	if err != nil {
		return err
	}
	list = sortNear(q, list, func(c wire.Check) string { return c.Node })
	list, err = filtered(q, list)
	if err != nil {
		return err
	}
	q.meta(index)
	return q.json(list)
}
