package consul

import (
	"strconv"

	"github.com/skerryhq/skerry"
)

// answerKey has everything that an answer of health/service depends on, besides the view.
type answerKey struct {
	passing    bool
	tags, meta []string
	filter     string
	rules      string // of the caller, "" if it may see all of the view
}

// sharedAnswer returns the key under which the answer is kept on the view. ok is
// false for an answer that depends on more than the view and the key.
func (q *request) sharedAnswer(v *skerry.View) (k answerKey, ok bool) {
	if q.p.near != "" {
		return k, false
	}
	rules, ok := q.scope(v)
	return answerKey{passing: q.p.passing, tags: q.p.tags, meta: q.p.nodeMeta, filter: q.p.filter, rules: rules}, ok
}

// memo returns the answer that is kept on the view, or renders it.
func (k *answerKey) memo(v *skerry.View, packed bool, render func() []byte) []byte {
	if k.filter == "" && len(k.tags) == 0 && len(k.meta) == 0 && k.rules == "" {
		return v.Memo(plainKeys[index(k.passing)][index(packed)], render)
	}
	return v.MemoChosen(k.encode(packed), render)
}

func (k *answerKey) encode(packed bool) string {
	return skerry.MemoKey("consul/health", strconv.FormatBool(k.passing), strconv.FormatBool(packed), k.rules, k.filter,
		skerry.MemoKey(k.tags...), skerry.MemoKey(k.meta...))
}

// plainKeys are the keys of the usual answers, by passing and packed.
var plainKeys = func() (keys [2][2]string) {
	for _, passing := range []bool{false, true} {
		for _, packed := range []bool{false, true} {
			keys[index(passing)][index(packed)] = (&answerKey{passing: passing}).encode(packed)
		}
	}
	return keys
}()

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}
