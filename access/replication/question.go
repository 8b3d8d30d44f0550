// Package replication copies the policies, roles and tokens that the primary datacenter decides on to another datacenter. It
// has no socket: the way to the primary datacenter is given to it. See DESIGN.md.
package replication

import (
	"bytes"
	"context"
	"time"

	"github.com/skerryhq/skerry/access"
)

// Question asks the primary datacenter for the records that changed.
type Question struct {
	Tokens bool   // the copy has tokens too
	Since  uint64 // the index that the copy is at; 0: there is none
	Digest []byte // of the copy
	// After asks for the part of a whole copy that begins after this key.
	After string `json:",omitempty"`
}

// Answer answers a [Question].
type Answer struct {
	State access.CopyState // of a copy with the records
	// Whole is whether the records are all that there are, in parts.
	Whole   bool          `json:",omitempty"`
	More    bool          `json:",omitempty"` // there is another part
	Records []access.Copy `json:",omitempty"`
}

const (
	// MaxQuestion is the size of the largest question, in bytes.
	MaxQuestion = 64 << 10
	// partSize is how many bytes of records an answer has.
	partSize = 2 << 20
	// waitFor is how long a question waits for a change.
	waitFor = 30 * time.Second
)

// Resolve answers a question from the records of the primary datacenter. If the copy is like them it waits for a change, for 30 s
// at most. An error of kind Unavailable means that this server has no majority: it may have less than the asker.
func Resolve(ctx context.Context, s *access.Store, q Question) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, waitFor)
	defer cancel()
	if err := s.Sync(ctx); err != nil {
		return Answer{}, err
	}
	for {
		_, changed := s.WatchAll()
		a, news, err := now(s.Records(q.Tokens), q)
		if err != nil || news {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, nil
		case <-changed:
		}
	}
}

// now answers a question at once. news is false if the copy is like the records.
func now(records access.Records, q Question) (a Answer, news bool, err error) {
	a.State = records.State()
	if q.After == "" && bytes.Equal(q.Digest, records.Digest()) {
		// Where tokens are not copied their holders are asked for: the asker is told that one changed.
		return a, !q.Tokens && a.State.Tokens > q.Since, nil
	}
	if q.After == "" && q.Since != 0 {
		changed, known, err := records.Later(q.Since)
		if err != nil {
			return a, false, err
		}
		if known && len(changed) > 0 && size(changed) <= partSize {
			a.Records = changed
			return a, true, nil
		}
	}
	a.Whole = true
	a.Records, a.More, err = records.Part(q.After, partSize)
	return a, true, err
}

func size(records []access.Copy) (n int) {
	for _, r := range records {
		n += len(r.Key) + len(r.Value)
	}
	return n
}
