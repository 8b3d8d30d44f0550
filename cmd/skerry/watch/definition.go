package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"

	"github.com/hashicorp/consul/api/watch"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tool/child"
)

// Definition is a watch of a configuration file, understood.
type Definition struct {
	key  string // equal for equal definitions; may hold a token
	name string // for the log
	plan *watch.Plan
	args []string                 // of a program
	url  *watch.HttpHandlerConfig // or this
}

// Parse understands watches as Consul documents them: type and its parameters,
// and handler_type script (the default) with args, or handler, a line for the
// shell; or handler_type http with http_handler_config.
func Parse[W ~map[string]any](watches []W) ([]Definition, error) {
	var out []Definition
	for i, w := range watches {
		d, err := parse(w)
		if err != nil {
			return nil, skerry.Errorf(skerry.Invalid, "watches[%d]: %w", i, err)
		}
		out = append(out, d)
	}
	return out, nil
}

func parse(w map[string]any) (d Definition, err error) {
	key, err := json.Marshal(w)
	if err != nil {
		return d, err
	}
	d.key, d.name = string(key), fmt.Sprint(w["type"])
	for _, of := range []string{"service", "key", "prefix", "name", "state"} {
		if what, ok := w[of].(string); ok {
			d.name += " " + what
		}
	}
	// The library removes the keys that it understood from the map.
	if d.plan, err = watch.ParseExempt(maps.Clone(w), []string{"args", "handler"}); err != nil {
		return d, err
	}
	line, _ := d.plan.Exempt["handler"].(string)
	args, isList := d.plan.Exempt["args"].([]any)
	for _, a := range args {
		word, ok := a.(string)
		if !ok {
			return d, fmt.Errorf("args: want a list of strings, found %v", a)
		}
		d.args = append(d.args, word)
	}
	switch kind := d.plan.HandlerType; {
	case kind == "http":
		if line != "" || isList {
			return d, fmt.Errorf("handler_type http runs no program; take out args and handler")
		}
		d.url = d.plan.Exempt["http_handler_config"].(*watch.HttpHandlerConfig)
	case kind != "script" && kind != "":
		return d, fmt.Errorf("handler_type: %q: want script or http", kind)
	case line != "" && isList:
		return d, fmt.Errorf("args and handler exclude each other")
	case line != "":
		d.args = child.Shell(line)
	case len(d.args) == 0:
		return d, fmt.Errorf("a watch needs args, a list of a program and its arguments")
	}
	return d, nil
}

// handler returns the handler of the watch. The output of a program is for the log.
func (d *Definition) handler(log *slog.Logger) Handler {
	if d.url != nil {
		return URL(*d.url)
	}
	return func(ctx context.Context, index string, data any) error {
		var out head
		err := Program(d.args, &out, &out)(ctx, index, data)
		switch {
		case err == nil:
			log.Debug("watch handler ran", "output", string(out.kept))
		case len(out.kept) > 0:
			return fmt.Errorf("%w; it printed %q", err, out.kept)
		}
		return err
	}
}

// head keeps the beginning of the bytes written to it.
type head struct{ kept []byte }

const headSize = 4 << 10

// Write implements [io.Writer].
func (h *head) Write(p []byte) (int, error) {
	h.kept = append(h.kept, p[:min(len(p), headSize-len(h.kept))]...)
	return len(p), nil
}
