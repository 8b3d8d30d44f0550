// Package snapshot saves snapshots of the quorum store into a folder, one after the other, and
// removes the oldest. Of several processes with the same lock one saves.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/consul/api"
)

// Options configures the saving. Folder and Save are required.
type Options struct {
	Every  time.Duration // between two snapshots; 0: one, without lock and service
	Retain int           // how many files are kept; 0: all
	Folder string        // of the files; it must exist
	// Save writes a snapshot to a file, which is there when it is whole, verified and on the disk.
	Save func(ctx context.Context, file string) error

	Lock        string // the key of the lock; required unless Every is 0
	MaxFailures int    // in a row; then the lock is given to another process. 0: never
	// Service is registered at the agent with a check: passing while this process saves or waits for
	// the lock, critical when the last try failed. Empty: none.
	Service         string
	DeregisterAfter time.Duration // the service goes when it is critical for so long; 0: never
	Log             *slog.Logger  // default: discard
}

// retryAfter is the longest rest after a save that failed.
const retryAfter = 30 * time.Second

// Run saves until ctx ends; nil is returned then. With Every 0 it saves once, and the error is that of
// the save. Otherwise errors of servers are logged, and tried again.
func Run(ctx context.Context, c *api.Client, o Options) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Every == 0 {
		return o.save(ctx)
	}
	sign := newSign(c, o)
	defer sign.end()
	for ctx.Err() == nil {
		if err := o.turn(ctx, c, sign); err != nil && ctx.Err() == nil {
			o.Log.Error("snapshots wait", "error", err)
			sign.show(api.HealthCritical, err.Error())
		}
		pause(ctx, min(o.Every, retryAfter))
	}
	return nil
}

// turn takes the lock and saves until it is lost.
func (o *Options) turn(ctx context.Context, c *api.Client, sign *sign) error {
	lock, err := c.LockOpts(&api.LockOptions{Key: o.Lock, SessionName: "Skerry snapshot agent", SessionTTL: "15s", MonitorRetries: 3})
	if err != nil {
		return err
	}
	sign.show(api.HealthPassing, "waits for the lock")
	lost, err := lock.Lock(ctx.Done())
	if err != nil || lost == nil {
		return err
	}
	defer func() {
		if err := lock.Unlock(); err != nil && !errors.Is(err, api.ErrLockNotHeld) {
			o.Log.Warn("lock not released; it ends with its session", "error", err)
		}
	}()
	held, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-lost:
			stop()
		case <-held.Done():
		}
	}()
	o.Log.Info("lock held: this process saves snapshots", "every", o.Every, "folder", o.Folder)
	sign.show(api.HealthPassing, "saves snapshots")
	err = o.loop(held, sign)
	if ctx.Err() == nil && held.Err() != nil {
		err = errors.New("the lock was lost")
	}
	return err
}

// loop saves whenever it is time, until ctx ends, or until too many failed in a row.
func (o *Options) loop(ctx context.Context, sign *sign) error {
	failed := 0
	for {
		wait, err := o.due(time.Now())
		if err == nil && !pause(ctx, wait) {
			return nil
		}
		if err == nil {
			err = o.save(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failed = 0
			sign.show(api.HealthPassing, "the last snapshot was saved at "+time.Now().Format(time.RFC3339))
			continue
		}
		failed++
		o.Log.Error("snapshot not saved", "error", err, "failures", failed)
		sign.show(api.HealthCritical, err.Error())
		if o.MaxFailures > 0 && failed >= o.MaxFailures {
			return fmt.Errorf("%d snapshots in a row were not saved, and another process may try: %w", failed, err)
		}
		if !pause(ctx, min(o.Every, retryAfter)) {
			return nil
		}
	}
}

// pause waits, and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
