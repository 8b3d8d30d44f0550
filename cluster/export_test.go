package cluster

import (
	"time"
)

// NewBootAcceptingAgain accepts any list that is proposed.
func NewBootAcceptingAgain(self ServerID, url string, expect int, kept Kept, now time.Time) *Boot {
	b := NewBoot(self, url, expect, kept, now)
	b.off.once = true
	return b
}

// NewBootStartingEarly starts a cluster when a majority has accepted.
func NewBootStartingEarly(self ServerID, url string, expect int, kept Kept, now time.Time) *Boot {
	b := NewBoot(self, url, expect, kept, now)
	b.off.all = true
	return b
}

// Mutants makes servers that lack a rule, by its name.
var Mutants = map[string]func(Config, time.Time) *Server{
	"attachment order":        without(rules{attach: true}),
	"contest":                 without(rules{contest: true}),
	"freeze in a minority":    without(rules{freeze: true}),
	"orphans by a majority":   without(rules{majority: true}),
	"takeover":                without(rules{takeover: true}),
	"one way counts as a cut": without(rules{mutual: true}),
	"repair":                  without(rules{repair: true}),
}

func without(off rules) func(Config, time.Time) *Server {
	return func(cfg Config, now time.Time) *Server {
		s := New(cfg, now)
		s.off = off
		return s
	}
}

// The mutants of rules that a random schedule meets too rarely.
var (
	NewNotAskingTheHome = without(rules{askHome: true})
	NewWithoutAFullTTL  = without(rules{fullTTL: true})
)

// Speak sets the versions of the protocol that a server speaks.
func (s *Server) Speak(low, high uint16) { s.speaks = Range{low, high} }

// Pos returns the position up to which a peer's log was merged.
func (s *Server) Pos(id ServerID) Pos { return s.peers[id].pos }

// Logged returns the number of records that a server keeps of its log.
func (s *Server) Logged() int { return len(s.ring.records) }

// MaxEnded is how many owners that ended a server without others remembers.
const MaxEnded = maxEnded
