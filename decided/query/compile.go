package query

import (
	"fmt"
	"regexp"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/filter"
)

// validate judges a definition alone. Its errors have Consul's words.
func validate(query *skerry.PreparedQuery) error {
	s := &query.Service
	switch {
	case query.Name == "" && query.Template.Type == "" && query.Session == "":
		return skerry.Errorf(skerry.Invalid, "Must be bound to a session")
	case query.Token == redacted:
		return skerry.Errorf(skerry.Invalid, "Bad Token '%s': give the token itself, or leave it out", redacted)
	case s.Service == "":
		return skerry.Errorf(skerry.Invalid, "Must provide a Service name to query")
	case s.Failover.NearestN < 0:
		return skerry.Errorf(skerry.Invalid, "Bad NearestN '%d', must be >= 0", s.Failover.NearestN)
	case len(s.Failover.Targets) > 0 && (s.Failover.NearestN > 0 || len(s.Failover.Datacenters) > 0):
		return skerry.Errorf(skerry.Invalid, "Targets cannot be populated with NearestN or Datacenters")
	}
	_, err := ttlOf(query.TTL)
	return err
}

func ttlOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	ttl, err := time.ParseDuration(text)
	if err != nil {
		return 0, skerry.Errorf(skerry.Invalid, "Bad DNS TTL '%s': %w", text, err)
	}
	if ttl < 0 {
		return 0, fmt.Errorf("DNS TTL '%d', must be >=0", ttl)
	}
	return ttl, nil
}

// compiled is a query ready for use.
type compiled struct {
	query    *skerry.PreparedQuery
	ttl      time.Duration
	pipeline skerry.Pipeline // nil for a template
	regexp   *regexp.Regexp
	texts    map[string]text // those strings of a template that have parts to fill in
}

func compile(query *skerry.PreparedQuery) (*compiled, error) {
	c := &compiled{query: query}
	var err error
	if c.ttl, err = ttlOf(query.TTL); err != nil {
		return nil, err
	}
	switch query.Template.Type {
	case "":
		c.pipeline = pipelineOf(&query.Service)
		return c, nil
	case skerry.TemplatePrefix:
	default:
		return nil, skerry.Errorf(skerry.Invalid, "Bad Template.Type '%s'", query.Template.Type)
	}
	if query.Template.Regexp != "" {
		if c.regexp, err = filter.Regexp(query.Template.Regexp); err != nil {
			return nil, skerry.Errorf(skerry.Invalid, "Bad Regexp: %w", err)
		}
	}
	c.texts = map[string]text{}
	eachText(&query.Service, func(s string) string {
		t, bad := parseText(s)
		switch {
		case bad != nil:
			err = bad
		case !t.plain():
			c.texts[s] = t
		}
		return s
	})
	return c, err
}

// resolve returns the query that answers for a name. In a template's all parts are filled
// in. The query shares the rest with its definition.
func (c *compiled) resolve(name string) (*skerry.PreparedQuery, skerry.Pipeline) {
	if c.query.Template.Type == "" {
		return c.query, c.pipeline
	}
	out := *c.query
	prefix := min(len(c.query.Name), len(name))
	asked := asked{full: name, prefix: c.query.Name, suffix: name[prefix:]}
	if c.regexp != nil {
		asked.groups = c.regexp.FindStringSubmatch(name)
	}
	out.Service = eachText(&c.query.Service, func(s string) string {
		if t, ok := c.texts[s]; ok {
			return t.fill(&asked)
		}
		return s
	})
	if c.query.Template.RemoveEmptyTags {
		kept := []string{}
		for _, tag := range out.Service.Tags {
			if tag != "" && tag != "!" {
				kept = append(kept, tag)
			}
		}
		out.Service.Tags = kept
	}
	return &out, pipelineOf(&out.Service)
}

// eachText returns a copy of s with every string replaced by change's result for it.
func eachText(s *skerry.ServiceQuery, change func(string) string) skerry.ServiceQuery {
	list := func(in []string) []string {
		if in == nil {
			return nil
		}
		out := make([]string, len(in))
		for i, v := range in {
			out[i] = change(v)
		}
		return out
	}
	pairs := func(in map[string]string) map[string]string {
		if in == nil {
			return nil
		}
		out := make(map[string]string, len(in))
		for k, v := range in {
			out[k] = change(v)
		}
		return out
	}
	out := *s
	out.Service, out.Peer, out.Near = change(s.Service), change(s.Peer), change(s.Near)
	out.Failover.Datacenters = list(s.Failover.Datacenters)
	out.Failover.Targets = nil
	for _, t := range s.Failover.Targets {
		out.Failover.Targets = append(out.Failover.Targets, skerry.FailoverTarget{Peer: change(t.Peer), Datacenter: change(t.Datacenter)})
	}
	out.IgnoreCheckIDs, out.Tags = list(s.IgnoreCheckIDs), list(s.Tags)
	out.NodeMeta, out.ServiceMeta = pairs(s.NodeMeta), pairs(s.ServiceMeta)
	return out
}
