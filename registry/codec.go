package registry

import (
	"fmt"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/cluster"
	"github.com/skerryhq/skerry/cluster/frame"
)

// decode returns the message of a frame; nil if its kind is not known here.
func decode(data []byte) (cluster.Message, error) {
	m, err := frame.Decode(data)
	if m == nil || err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case cluster.Log:
		err = valid(m.Records)
	case cluster.Fetched:
		err = valid(m.Records)
	case cluster.Owned:
		err = valid(m.Records)
	case cluster.Announce:
		err = valid([]cluster.Record{m.Record})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", frame.Kind(m), err)
	}
	return m, nil
}

// valid returns an error if the catalog would refuse one of the records: the core must not
// take what the catalog cannot show.
func valid(records []cluster.Record) error {
	for i := range records {
		r := &records[i]
		r.Attach = false
		switch {
		case r.Owner == "":
			return skerry.Errorf(skerry.Invalid, "a record has no owner")
		case r.TTL < 0:
			return skerry.Errorf(skerry.Invalid, "%s: the TTL is %v", r.Owner, r.TTL)
		case r.Set == nil && r.Delta == nil:
			continue
		}
		a := announcement(r)
		a.TTL = max(a.TTL, 1)
		if err := catalog.Validate(&a); err != nil {
			return fmt.Errorf("%s: %w", r.Owner, err)
		}
	}
	return nil
}
