package consul

import (
	bexpr "github.com/hashicorp/go-bexpr"

	"github.com/skerryhq/skerry"
)

// filterError is how Consul words a bad expression, with its status.
func filterError(err error) error {
	return serverError("Failed to create boolean expression evaluator: " + err.Error())
}

// evaluator compiles a filter for one shape. The library is the version that
// Consul uses: it checks selectors against the shape, and its words are the ones
// that scripts look for.
func evaluator[T any](expression string) (*bexpr.Evaluator, error) {
	var shape T
	ev, err := bexpr.CreateEvaluatorForType(expression, nil, shape)
	if err != nil {
		return nil, filterError(err)
	}
	return ev, nil
}

// filtered returns the elements that the expression keeps; all without one.
func filtered[T any](expression string, list []T) ([]T, error) {
	if expression == "" {
		return list, nil
	}
	ev, err := evaluator[T](expression)
	if err != nil {
		return nil, err
	}
	out := make([]T, 0, len(list))
	for _, v := range list {
		ok, err := ev.Evaluate(v)
		if err != nil {
			return nil, serverError(err.Error())
		}
		if ok {
			out = append(out, v)
		}
	}
	return out, nil
}

func filteredMap[T any](expression string, m map[string]T) (map[string]T, error) {
	if expression == "" {
		return m, nil
	}
	ev, err := evaluator[T](expression)
	if err != nil {
		return nil, err
	}
	out := make(map[string]T, len(m))
	for k, v := range m {
		ok, err := ev.Evaluate(v)
		if err != nil {
			return nil, serverError(err.Error())
		}
		if ok {
			out[k] = v
		}
	}
	return out, nil
}

// filterStage is a filter on entries as a stage of the read path.
func filterStage[T any](expression string, shape func(*skerry.Entry) T) (skerry.Stage, error) {
	ev, err := evaluator[T](expression)
	if err != nil {
		return skerry.Stage{}, err
	}
	return skerry.Stage{
		Name: "filter",
		Keep: func(e *skerry.Entry) bool {
			ok, err := ev.Evaluate(shape(e))
			return err == nil && ok
		},
		Why: func(*skerry.Entry) string { return "the filter " + expression + " does not match" },
	}, nil
}
