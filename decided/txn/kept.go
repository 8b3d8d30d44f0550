package txn

import (
	"encoding/json"

	"github.com/skerryhq/skerry"
)

// kept is the outcome of a transaction as it is kept for another attempt of its request. The indexes
// of catalog records are beside them: their own encoding is that of the store, which has none.
type kept struct{ results *[]skerry.TxnResult }

type keptResult struct {
	skerry.TxnResult
	At [2]uint64 // created, modified
}

// MarshalJSON implements [json.Marshaler].
func (k *kept) MarshalJSON() ([]byte, error) {
	all := make([]keptResult, len(*k.results))
	for i, r := range *k.results {
		all[i].TxnResult = r
		if s := stampOf(&r); s != nil {
			all[i].At = [2]uint64{s.Created, s.Modified}
		}
	}
	return json.Marshal(all)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (k *kept) UnmarshalJSON(b []byte) error {
	var all []keptResult
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*k.results = nil
	for _, r := range all {
		if s := stampOf(&r.TxnResult); s != nil {
			s.Created, s.Modified = r.At[0], r.At[1]
		}
		*k.results = append(*k.results, r.TxnResult)
	}
	return nil
}

// stampOf returns the indexes of a catalog record in a result, or nil.
func stampOf(r *skerry.TxnResult) *skerry.Stamp {
	switch {
	case r.Node != nil:
		return &r.Node.Stamp
	case r.Service != nil:
		return &r.Service.Stamp
	case r.Check != nil:
		return &r.Check.Stamp
	}
	return nil
}
