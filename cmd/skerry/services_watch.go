package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/show"
)

// retryAfter is the pause after a failed request of a command that goes on.
const retryAfter = time.Second

func newServicesWatchCommand() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "watch [SERVICE...]",
		Short: "Show services and their health, live",
		Long: `Show services and their health, all or those named, and again at every change
until interrupted. On a terminal the table is redrawn in place.`,
	}
	cmd.Flags().BoolVar(&once, "once", false, "show the table once")
	return client(cmd, func(ctx context.Context, c *connection, args []string, out io.Writer) error {
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		w := liveTable{c: c, names: args, out: out, redraw: isTerminal(out)}
		if err := w.run(ctx, once); ctx.Err() == nil {
			return err
		}
		return nil
	})
}

// isTerminal reports whether a person may be looking at out.
func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// liveTable shows the health of services as it is and becomes. It waits for any
// check to change, and for the list of services beside: a service without a
// check changes only that.
type liveTable struct {
	c      *connection
	names  []string
	out    io.Writer
	redraw bool
	shown  []byte
}

func (w *liveTable) run(ctx context.Context, once bool) error {
	if err := w.refresh(ctx); err != nil || once {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	changed := make(chan struct{}, 1)
	waits := []func(*api.QueryOptions) (*api.QueryMeta, error){
		func(q *api.QueryOptions) (*api.QueryMeta, error) {
			_, meta, err := w.c.Health().State(api.HealthAny, q)
			return meta, err
		},
		func(q *api.QueryOptions) (*api.QueryMeta, error) {
			_, meta, err := w.c.Catalog().Services(q)
			return meta, err
		},
	}
	done := make(chan struct{})
	for _, wait := range waits {
		go func() {
			defer func() { done <- struct{}{} }()
			w.follow(ctx, wait, changed)
		}()
	}
	defer func() {
		cancel()
		for range waits {
			<-done
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		if err := w.refresh(ctx); err != nil && ctx.Err() == nil {
			// The agent was there a moment ago, and may be again in the next.
			fmt.Fprintln(w.out, w.c.Explained(err))
			w.shown = nil
		}
	}
}

// follow repeats a blocking query, and signals every new index on changed.
func (w *liveTable) follow(ctx context.Context, wait func(*api.QueryOptions) (*api.QueryMeta, error), changed chan<- struct{}) {
	var index uint64
	for ctx.Err() == nil {
		q := w.c.Options(ctx)
		q.WaitIndex = index
		meta, err := wait(q)
		if err != nil {
			index = 0
			timer := time.NewTimer(retryAfter)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		} else if meta.LastIndex == index {
			continue // the wait ended without a change
		} else {
			index = meta.LastIndex
		}
		select {
		case changed <- struct{}{}:
		default: // a refresh is due already
		}
	}
}

// refresh reads all and shows it if anything in it is new.
func (w *liveTable) refresh(ctx context.Context) error {
	names := w.names
	if len(names) == 0 {
		all, _, err := w.c.Catalog().Services(w.c.Options(ctx))
		if err != nil {
			return err
		}
		names = slices.Sorted(maps.Keys(all))
	}
	t := show.NewTable("Service", "Instances", "Passing", "Warning", "Critical", "Failing checks")
	for _, name := range names {
		entries, _, err := w.c.Health().Service(name, "", false, w.c.Options(ctx))
		if err != nil {
			return err
		}
		t.Add(healthLine(name, entries)...)
	}
	var b bytes.Buffer
	if err := t.Write(&b, "no services"); err != nil {
		return err
	}
	if bytes.Equal(b.Bytes(), w.shown) {
		return nil
	}
	w.shown = bytes.Clone(b.Bytes())
	head := time.Now().Format(time.TimeOnly) + "\n"
	if w.redraw {
		head = "\x1b[H\x1b[2J" + head // cursor home, clear the screen
	}
	_, err := fmt.Fprintf(w.out, "%s%s\n", head, w.shown)
	return err
}

func healthLine(name string, entries []*api.ServiceEntry) []string {
	count := map[string]int{}
	failing := ""
	for _, e := range entries {
		count[e.Checks.AggregatedStatus()]++
		for _, k := range e.Checks {
			if k.Status != api.HealthPassing && failing == "" {
				failing = fmt.Sprintf("%s/%s: %s", e.Node.Node, k.CheckID, brief(k.Output))
			}
		}
	}
	return []string{
		name, strconv.Itoa(len(entries)), strconv.Itoa(count[api.HealthPassing]), strconv.Itoa(count[api.HealthWarning]),
		strconv.Itoa(count[api.HealthCritical] + count[api.HealthMaint]), show.Cut(failing, 80),
	}
}
