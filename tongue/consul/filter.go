package consul

import (
	"errors"
	"net/http"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/filter"
)

const (
	// filterWithin bounds the time of filtering one answer.
	filterWithin = 10 * time.Second
	// filterPause is the number of comparisons between two looks at the clock.
	filterPause = 4096
)

// sieve applies one request's filter. It gives up when the client disconnects, or after
// filterWithin: from then on it keeps nothing, and err is the reason.
type sieve struct {
	f     *filter.Filter
	q     *request
	until time.Time
	spent int
	err   error
}

// newSieve compiles the request's filter for values of shape's type.
func (q *request) newSieve(shape any) (*sieve, error) {
	f, err := filter.New(q.p.filter, shape)
	if err != nil {
		var limit *filter.Limit
		if errors.As(err, &limit) {
			return nil, badRequest("Invalid filter: " + err.Error())
		}
		return nil, serverError("Failed to create boolean expression evaluator: " + err.Error())
	}
	return &sieve{f: f, q: q, until: time.Now().Add(filterWithin)}, nil
}

// keeps reports whether the filter keeps v.
func (s *sieve) keeps(v any) bool {
	if s.err != nil {
		return false
	}
	if s.spent += s.f.Cost(); s.spent >= filterPause {
		s.spent = 0
		if s.err = s.q.r.Context().Err(); s.err == nil && time.Now().After(s.until) {
			s.err = status(http.StatusServiceUnavailable, "Invalid filter: it took more than "+filterWithin.String()+"; make fewer comparisons, or name a service")
		}
		if s.err != nil {
			return false
		}
	}
	ok, err := s.f.Match(v)
	if err != nil {
		s.err = serverError(err.Error())
	}
	return ok && err == nil
}

// failed returns the error if the sieve gave up, else nil. s may be nil.
func (s *sieve) failed() error {
	if s == nil {
		return nil
	}
	return s.err
}

// filtered returns the elements that the request's filter keeps; all without one.
func filtered[T any](q *request, list []T) ([]T, error) {
	if q.p.filter == "" {
		return list, nil
	}
	var shape T
	s, err := q.newSieve(shape)
	if err != nil {
		return nil, err
	}
	out := make([]T, 0, len(list))
	for _, v := range list {
		if s.keeps(v) {
			out = append(out, v)
		}
	}
	return out, s.err
}

func filteredMap[T any](q *request, m map[string]T) (map[string]T, error) {
	if q.p.filter == "" {
		return m, nil
	}
	var shape T
	s, err := q.newSieve(shape)
	if err != nil {
		return nil, err
	}
	out := make(map[string]T, len(m))
	for k, v := range m {
		if s.keeps(v) {
			out[k] = v
		}
	}
	return out, s.err
}

// filterStage returns the request's filter on entries as a stage of the read path. After
// all entries went through it, the caller must check whether the sieve failed.
func filterStage[T any](q *request, shape func(*skerry.Entry) T) (skerry.Stage, *sieve, error) {
	var empty T
	s, err := q.newSieve(empty)
	if err != nil {
		return skerry.Stage{}, nil, err
	}
	return skerry.Stage{
		Name: "filter",
		Keep: func(e *skerry.Entry) bool { return s.keeps(shape(e)) },
		Why:  func(*skerry.Entry) string { return "the filter " + shortened(q.p.filter) + " does not match" },
	}, s, nil
}

// shortened bounds a text that an answer has once for each instance.
func shortened(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
