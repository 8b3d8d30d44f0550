package consul

import (
	"encoding/json"
	"strings"

	"github.com/skerryhq/skerry"
)

// healthService answers the most used endpoint. For the usual queries the whole
// body is kept on the view, so that a request is a look-up and a write.
func (q *request) healthService() error {
	if q.rest == "" {
		return badRequest("Missing service name")
	}
	if err := q.local(); err != nil {
		return err
	}
	if q.p.passingErr != nil {
		return q.p.passingErr
	}
	if err := q.block(skerry.Topic{Kind: skerry.TopicService, Name: q.rest}); err != nil {
		return err
	}
	if q.p.cached {
		q.cached()
	}
	var shown *skerry.View
	if q.hides() {
		shown = q.view(q.rest) // its index must not be newer than the entries
	}
	v := q.t.b.Catalog.Service(q.rest)
	if shown == nil {
		shown = v
	}
	key := q.memoKey()
	if q.who != nil {
		if scope, ok := q.scope(v); ok && key != "" {
			key = scope + key
		} else {
			key = ""
		}
	}
	var failed error
	render := func() []byte {
		pipeline, err := q.pipeline()
		if err != nil {
			failed = err
			return nil
		}
		return q.renderEntries(pipeline.Select(q.entries(v)))
	}
	var body, packed []byte
	if key == "" {
		body = render()
	} else {
		body = v.Memo(key, render)
	}
	if failed != nil {
		return failed
	}
	if key != "" && len(body) >= minPacked && acceptsGzip(q.r) {
		packed = v.Memo(key+"/gzip", func() []byte { return compress(body) })
	}
	kept := len(body) - len("[]")
	q.meta(shown.Index)
	q.cause(shown, kept)
	q.send(200, body, packed)
	return nil
}

// memoKey names the answer among those kept on a view; "" for answers that
// depend on more than the view, or that a client could make up without end.
func (q *request) memoKey() string {
	if q.p.near != "" {
		return ""
	}
	if q.p.filter == "" && !q.p.hasTags && len(q.p.nodeMeta) == 0 {
		if q.p.passing {
			return "consul/health/passing"
		}
		return "consul/health"
	}
	var b strings.Builder
	b.WriteString("consul/health?")
	if q.p.passing {
		b.WriteString("passing")
	}
	for _, tag := range q.p.tags {
		b.WriteString("\x00t" + tag)
	}
	for _, pair := range q.p.nodeMeta {
		b.WriteString("\x00m" + pair)
	}
	b.WriteString("\x00f" + q.p.filter)
	return b.String()
}

// pipeline builds the read path of the query from its parameters.
func (q *request) pipeline() (skerry.Pipeline, error) {
	var p skerry.Pipeline
	if q.p.hasTags {
		p = append(p, skerry.HasTags(q.p.tags))
	}
	if len(q.p.nodeMeta) > 0 {
		p = append(p, skerry.HasNodeMeta(q.p.metaFilter()))
	}
	if q.p.passing {
		p = append(p, passingStages...)
	}
	if q.p.filter != "" {
		s, err := filterStage(q.p.filter, entryJSON)
		if err != nil {
			return nil, err
		}
		p = append(p, s)
	}
	return p, nil
}

var passingStages = skerry.Pipeline{skerry.NotInMaintenance(), skerry.Passes()}

func (q *request) renderEntries(entries []*skerry.Entry) []byte {
	entries = q.sortEntries(entries)
	out := make([]jsonEntry, len(entries))
	for i, e := range entries {
		out[i] = entryJSON(e)
	}
	body, err := json.Marshal(out)
	if err != nil {
		q.t.cfg.Log.Error("an answer cannot be encoded", "service", q.rest, "error", err)
		return []byte("[]")
	}
	return body
}

func (q *request) healthNode() error {
	if q.rest == "" {
		return q.bare(badRequest("Missing node name"))
	}
	topic := skerry.Topic{Kind: skerry.TopicNode, Name: q.rest}
	return q.checks(topic, func(add func(*skerry.Node, *skerry.Check)) {
		if v := q.t.b.Catalog.Node(q.rest); v != nil {
			for _, c := range v.Checks {
				add(v.Node, c)
			}
		}
	})
}

func (q *request) healthChecks() error {
	if q.rest == "" {
		return q.bare(badRequest("Missing service name"))
	}
	topic := skerry.Topic{Kind: skerry.TopicService, Name: q.rest}
	return q.checks(topic, func(add func(*skerry.Node, *skerry.Check)) {
		for _, e := range q.t.b.Catalog.Service(q.rest).Entries {
			for _, c := range e.Checks {
				if c.ServiceID != "" {
					add(e.Node, c)
				}
			}
		}
	})
}

func (q *request) healthState() error {
	if q.rest == "" {
		return q.bare(badRequest("Missing check state"))
	}
	return q.checks(skerry.Topic{Kind: skerry.TopicChecks}, func(add func(*skerry.Node, *skerry.Check)) {
		for _, v := range q.t.b.Catalog.Nodes() {
			for _, c := range v.Checks {
				if q.rest == "any" || string(c.Status) == q.rest {
					add(v.Node, c)
				}
			}
		}
	})
}

// checks answers with a list of checks.
func (q *request) checks(topic skerry.Topic, each func(add func(*skerry.Node, *skerry.Check))) error {
	if err := q.p.query(); err != nil {
		return q.bare(err)
	}
	if err := q.local(); err != nil {
		return err
	}
	if err := q.block(topic); err != nil {
		return err
	}
	index := q.index(topic)
	list := []jsonCheck{}
	want := q.p.metaFilter()
	each(func(n *skerry.Node, c *skerry.Check) {
		if n.HasMeta(want) {
			if !q.seesCheck(n.Name, c) {
				q.leftOut()
				return
			}
			list = append(list, checkJSON(n.Name, c))
		}
	})
	list = sortNear(q, list, func(c jsonCheck) string { return c.Node })
	list, err := filtered(q.p.filter, list)
	if err != nil {
		return err
	}
	q.meta(index)
	return q.json(list)
}

// bare marks an error of a request that Consul refuses before it looks anything up.
func (q *request) bare(err error) error {
	bare := *q.route
	bare.metaOnError = false
	q.route = &bare
	return err
}
