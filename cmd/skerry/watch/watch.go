// Package watch runs programs and calls URLs at changes in answers of an agent's HTTP
// API: for the watch command, and for the watches of configuration files.
package watch

import (
	"context"
	"strconv"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
	"github.com/hashicorp/go-hclog"
)

// Run calls tell with each state of the plan's subject, first the present one, until ctx
// ends or the plan is stopped. While the agent does not answer Run asks again, at growing
// intervals; troubled is called with the first such error only, and with nil when the
// agent answers again.
func Run(ctx context.Context, client *api.Client, plan *watch.Plan, tell func(index string, data any), troubled func(error)) error {
	ask, failing := plan.Watcher, false
	plan.Watcher = func(p *watch.Plan) (watch.BlockingParamVal, any, error) {
		value, data, err := ask(p)
		if ctx.Err() == nil && (err != nil) != failing {
			failing = err != nil
			troubled(err)
		}
		return value, data, err
	}
	plan.HybridHandler = func(value watch.BlockingParamVal, data any) {
		index := ""
		if i, ok := value.(watch.WaitIndexVal); ok {
			index = strconv.FormatUint(uint64(i), 10)
		}
		tell(index, data)
	}
	unhook := context.AfterFunc(ctx, plan.Stop)
	defer unhook()
	return plan.RunWithClientAndHclog(client, hclog.NewNullLogger())
}
