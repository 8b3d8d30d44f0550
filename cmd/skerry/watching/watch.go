// Package watching runs programs and calls URLs at changes of what an agent's
// HTTP API shows: for the watch command, and for the watches of configuration
// files.
package watching

import (
	"context"
	"strconv"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
	"github.com/hashicorp/go-hclog"
)

// Run tells each state of what the plan watches to tell, first the present one,
// until ctx ends or the plan is stopped. While the agent does not answer Run asks
// again, at growing intervals; troubled is called with the first such error only,
// and with nil when the agent answers again.
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
