package attach

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/cluster"
)

// Renew announces the whole set under a new version: its tokens changed, or the server judges by others than
// before. The versions are greater by one from then on than those of the owner.
func (a *Attachment) Renew() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.renew()
}

func (a *Attachment) renew() {
	if a.core == nil || a.withdrawn {
		return
	}
	a.lift++
	a.changes = changes{}
	a.core.Again()
	a.awake()
}

// Refused returns the services that the server leaves out, by name, with its reasons.
func (a *Attachment) Refused() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.refused)
}

func (a *Attachment) grants(of []*skerry.Instance) *cluster.Grants {
	if a.cfg.Grants == nil {
		return nil
	}
	return a.cfg.Grants(of)
}

// access takes a message about access that is not for the owner. It reports false if the message is another.
func (a *Attachment) access(c *conn, m cluster.Message) bool {
	switch m := m.(type) {
	case cluster.Access:
		if a.cfg.Moved != nil {
			a.cfg.Moved(m.Index)
		}
		return true
	case cluster.Authorities:
		if a.cfg.Authorities != nil {
			a.cfg.Authorities(m.Pins)
		}
		return true
	case cluster.Attached:
		a.mu.Lock()
		defer a.mu.Unlock()
		if m.Refused == "" {
			a.barred = ""
			return false
		}
		if a.conn == c {
			a.barred = string(c.to) + ": " + m.Refused
			a.core.Broke(time.Now(), c.to)
			a.failed(c.to, errors.New(m.Refused))
		}
		c.stop()
		return true
	}
	return false
}

// judged takes the server's judgement of the set. Called with mu held.
func (a *Attachment) judged(m cluster.Message) {
	switch m := m.(type) {
	case cluster.Told:
		a.noteRefused(m)
		if m.Again {
			a.renew()
		}
	case cluster.Beaten:
		if m.Again {
			a.renew()
		}
	}
}

// noteRefused logs the services that are left out, each once.
func (a *Attachment) noteRefused(m cluster.Told) {
	now := map[string]string{}
	for _, r := range m.Refused {
		now[r.Service] = r.Why
		if _, told := a.refused[r.Service]; !told {
			a.cfg.Log.Warn("the servers do not show a service of this agent: register it with a token that may write it, or set acl.tokens.default",
				"service", r.Service, "error", r.Why)
		}
	}
	for _, service := range slices.Sorted(maps.Keys(a.refused)) {
		if _, still := now[service]; !still {
			a.cfg.Log.Info("a service is left out by the servers no more", "service", service)
		}
	}
	a.refused = now
}
