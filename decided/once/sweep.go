package once

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
)

const (
	// epochLasts is the least length of an epoch. A record is swept after one to two of them.
	epochLasts = time.Minute
	// partDigits is the number of hexadecimal digits by which the records of an epoch are parted,
	// and partsAtOnce the number of parts that one change removes: a change with all records of a
	// busy minute would keep others waiting.
	partDigits  = 2
	partsAtOnce = 16
)

// Sweeper ends epochs, and removes the records of those that ended.
type Sweeper struct {
	KV    skerry.KV
	Leads func() bool  // whether this server sweeps; two that do so at once do no harm
	Log   *slog.Logger // default: discard
}

// Run sweeps until ctx ends. While there is no record it changes nothing.
func (s *Sweeper) Run(ctx context.Context) {
	for {
		_, next := s.KV.Watch(skerry.Only(epochKey))
		present := Epoch(s.KV)
		timer := time.NewTimer(epochLasts)
		select {
		case <-next: // another server began an epoch: it lasts from now
		case <-timer.C:
			if err := s.sweep(ctx, present); err != nil && ctx.Err() == nil {
				cmp.Or(s.Log, slog.New(slog.DiscardHandler)).Debug("the records of requests wait to be removed", "error", err)
			}
		case <-ctx.Done():
		}
		timer.Stop()
		s.KV.Unwatch(next)
		if ctx.Err() != nil {
			return
		}
	}
}

// sweep begins the epoch after the present one, if there are records, and removes those that are
// too old for any attempt.
func (s *Sweeper) sweep(ctx context.Context, present uint64) error {
	if !s.Leads() || s.first("") == "" {
		return nil
	}
	begun := false
	_, err := s.KV.Update(ctx, func(tx skerry.Tx) error {
		now, err := epochIn(tx)
		if begun = err == nil && now == present; begun {
			tx.Put(epochKey, strconv.AppendUint(nil, present+1, 10), 0)
		}
		return err
	})
	if err != nil || !begun {
		return err
	}
	return s.remove(ctx, present+1)
}

// remove removes the records of the epochs that are not current.
func (s *Sweeper) remove(ctx context.Context, present uint64) error {
	var parts []string
	flush := func() error {
		_, err := s.KV.Update(ctx, func(tx skerry.Tx) error {
			for _, part := range parts {
				tx.DeleteAll(part)
			}
			return nil
		})
		parts = parts[:0]
		return err
	}
	for key := s.first(""); key != ""; {
		part, epoch := partOf(key)
		if epoch < present && !Current(epoch, present) {
			parts = append(parts, part)
		}
		if len(parts) == partsAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
		key = s.first(part + "~") // greater than all that begin with part
	}
	if len(parts) == 0 {
		return nil
	}
	return flush()
}

// first returns the key of the first record that is not less than from, or "".
func (s *Sweeper) first(from string) string {
	for r := range s.KV.Snapshot().All(skerry.Below(skerry.Fleeting), from) {
		if r.Key != epochKey {
			return r.Key
		}
	}
	return ""
}

// partOf returns the prefix of the part that a record is in, and the record's epoch.
func partOf(key string) (part string, epoch uint64) {
	number, hash, _ := strings.Cut(key[len(skerry.Fleeting):], "/")
	epoch, _ = strconv.ParseUint(number, 10, 64)
	return skerry.Fleeting + number + "/" + hash[:min(partDigits, len(hash))], epoch
}
