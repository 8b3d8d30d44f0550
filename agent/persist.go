package agent

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/skerryhq/skerry"
)

// KeeperName is the agent's name in the ledger.
const KeeperName = "agent"

// record is one line of the journal: exactly one field is set. Every record holds a
// present state, so that replaying one twice does no harm.
type record struct {
	Epoch       uint64         `json:"epoch,omitempty"` // of this start
	Service     *serviceRecord `json:"service,omitempty"`
	GoneService string         `json:"gone_service,omitempty"` // with its checks
	Check       *checkRecord   `json:"check,omitempty"`
	GoneCheck   string         `json:"gone_check,omitempty"`
	State       *stateRecord   `json:"state,omitempty"`
}

type serviceRecord struct {
	Instance *skerry.Instance `json:"instance"`
	Source   source           `json:"source,omitempty"`
	Token    string           `json:"token,omitempty"`
	Checks   []checkRecord    `json:"checks,omitempty"`
}

type checkRecord struct {
	Check      *skerry.Check           `json:"record"`
	Definition *skerry.CheckDefinition `json:"definition,omitempty"`
	Source     source                  `json:"source,omitempty"`
	Slot       int32                   `json:"slot,omitempty"` // of the deadline, counted from 1
}

type stateRecord struct {
	ID     string        `json:"id"`
	Status skerry.Health `json:"status"`
	Output string        `json:"output,omitempty"`
	Since  time.Time     `json:"since"`
}

func recordOf(cs *checkState) checkRecord {
	return checkRecord{Check: cs.check, Definition: cs.def, Source: cs.source, Slot: cs.slot}
}

// Replay implements [journal.Keeper].
func (a *Agent) Replay(line []byte) error {
	var r record
	if err := json.Unmarshal(line, &r); err != nil {
		return err
	}
	switch {
	case r.Epoch > 0:
		a.version.Epoch = max(a.version.Epoch, r.Epoch)
	case r.Service != nil && r.Service.Instance != nil && r.Service.Instance.ID != "" && r.Service.Instance.Service != "":
		sv := &service{instance: r.Service.Instance, source: r.Service.Source, token: r.Service.Token}
		if old := a.services[sv.instance.ID]; old != nil {
			sv.checks = old.checks
		}
		a.services[sv.instance.ID] = sv
		for _, c := range r.Service.Checks {
			if err := a.replayCheck(c); err != nil {
				return err
			}
		}
	case r.GoneService != "":
		if s := a.services[r.GoneService]; s != nil {
			for _, cs := range s.checks {
				delete(a.checks, cs.check.ID)
			}
			delete(a.services, r.GoneService)
		}
	case r.Check != nil:
		return a.replayCheck(*r.Check)
	case r.GoneCheck != "":
		if cs := a.checks[r.GoneCheck]; cs != nil {
			a.unplace(cs)
		}
	case r.State != nil:
		if cs := a.checks[r.State.ID]; cs != nil {
			cs.check.Status, cs.check.Output, cs.check.Since = r.State.Status, r.State.Output, r.State.Since
		}
	default:
		return fmt.Errorf("an agent record of no known form")
	}
	return nil
}

func (a *Agent) replayCheck(r checkRecord) error {
	if r.Check == nil || r.Check.ID == "" {
		return fmt.Errorf("a check record without id")
	}
	if r.Check.ServiceID != "" && a.services[r.Check.ServiceID] == nil {
		return nil // its service is gone
	}
	cs := &checkState{check: r.Check, source: r.Source, slot: r.Slot}
	if r.Definition != nil {
		cs.def = a.intern(r.Definition)
	}
	a.place(cs)
	return nil
}

// Snapshot implements [journal.Keeper].
func (a *Agent) Snapshot(write func(any) error) error {
	a.mu.RLock()
	records := make([]record, 0, len(a.services)+len(a.node.checks)+1)
	records = append(records, record{Epoch: a.version.Epoch})
	for _, s := range a.services {
		if s.source == sourceProcess {
			continue
		}
		r := &serviceRecord{Instance: s.instance, Source: s.source, Token: s.token}
		for _, cs := range s.checks {
			r.Checks = append(r.Checks, recordOf(cs))
		}
		records = append(records, record{Service: r})
	}
	for _, cs := range a.node.checks {
		if cs.source != sourceProcess {
			records = append(records, record{Check: ptr(recordOf(cs))})
		}
	}
	a.mu.RUnlock()
	for _, r := range records {
		if err := write(r); err != nil {
			return err
		}
	}
	return nil
}
