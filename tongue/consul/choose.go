package consul

import (
	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// pipeline builds the read path of the query from its parameters. The sieve is the
// filter's, nil without one.
func (q *request) pipeline() (p skerry.Pipeline, filter *sieve, err error) {
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
		stage, s, err := filterStage(q, wire.EntryOf)
		if err != nil {
			return nil, nil, err
		}
		p, filter = append(p, stage), s
	}
	return p, filter, nil
}

var passingStages = skerry.Pipeline{skerry.NotInMaintenance(), skerry.Passes()}
