package agent

import "github.com/skerryhq/skerry"

// Tokens returns the tokens by which instances were registered, by their IDs, of those that have one. file is the
// token of those from files that name none.
func (a *Agent) Tokens(of []*skerry.Instance, file string) map[string]string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	out := map[string]string{}
	for _, i := range of {
		s := a.services[i.ID]
		switch {
		case s == nil:
		case s.token != "":
			out[i.ID] = s.token
		case s.source != sourceAPI && file != "":
			out[i.ID] = file
		}
	}
	return out
}
