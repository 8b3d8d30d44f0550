// Package sourcetest helps the tests of sources: it records the updates that one yields.
package sourcetest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
)

// Told is an update or an error that a source yielded.
type Told struct {
	client.Update
	Err error
}

// String is an error, or the instances, "(draining)" behind those, and the IDs that left.
func (u Told) String() string {
	if u.Err != nil {
		return "error " + u.Err.Error()
	}
	var out []string
	for _, i := range u.Instances {
		state := ""
		if i.Draining {
			state = "(draining)"
		}
		out = append(out, i.ID+"="+i.Address+state)
	}
	if len(u.Left) > 0 {
		out = append(out, "left:"+strings.Join(u.Left, ","))
	}
	return strings.Join(out, " ")
}

// Watch returns the updates and errors of the source, as they come, until the test ends.
func Watch(t testing.TB, s client.Source, service string) <-chan Told {
	t.Helper()
	out := make(chan Told, 10_000)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for u, err := range s.Watch(ctx, service) {
			out <- Told{u, err}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return out
}

// Addresses are those of the instances, in their order, with a blank between.
func Addresses(instances []client.Instance) string {
	var out []string
	for _, i := range instances {
		out = append(out, i.Address)
	}
	return strings.Join(out, " ")
}

// Until returns the first matching event; the test ends when that takes too long.
func Until(t testing.TB, tell <-chan Told, within time.Duration, what string, right func(Told) bool) Told {
	t.Helper()
	deadline := time.After(within)
	var last Told
	for {
		select {
		case last = <-tell:
			if right(last) {
				return last
			}
		case <-deadline:
			t.Fatalf("no event with %s; last: [%s], %v", what, Addresses(last.Instances), last.Err)
		}
	}
}

// List waits for a list with these addresses.
func List(t testing.TB, tell <-chan Told, within time.Duration, want string) Told {
	t.Helper()
	return Until(t, tell, within, "["+want+"]", func(u Told) bool { return u.Err == nil && Addresses(u.Instances) == want })
}

// Await watches a service until its list is right; the test ends when that takes too
// long.
func Await(t testing.TB, c *client.Client, service string, within time.Duration, what string, right func(client.Snapshot) bool) client.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var last client.Snapshot
	for s := range c.Watch(ctx, service) {
		if last = s; right(s) {
			return s
		}
	}
	t.Fatalf("%s: not within %v; the list is %+v", what, within, last)
	return last
}
