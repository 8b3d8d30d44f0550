// Package debug is the command debug: it gathers what helps to find a fault into one archive.
package debug

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
)

const (
	defaultDuration = 10 * time.Second
	defaultInterval = 5 * time.Second
	leastInterval   = time.Second
	// maxFile bounds one file of the archive, in bytes.
	maxFile = 256 << 20
	// answerWithin bounds a request, besides the time that it measures for.
	answerWithin = 20 * time.Second
)

// source is a file of the archive, and the request that it comes from.
type source struct {
	file    string
	path    string
	query   url.Values
	capture string // the group that -capture names
}

// once are the sources that are asked at the start.
var once = []source{
	{"agent.json", "/v1/agent/self", nil, "agent"},
	{"ready.txt", "/v1/status/ready", nil, "agent"},
	{"host.json", "/v1/agent/host", nil, "host"},
	{"members.json", "/v1/agent/members", nil, "members"},
	{"leader.json", "/v1/status/leader", nil, "members"},
	{"raft.json", "/v1/operator/raft/configuration", nil, "members"},
	{"autopilot.json", "/v1/operator/autopilot/health", nil, "members"},
	{"joined.json", "/v1/skerry/joined", nil, "members"},
	{"guard.json", "/v1/skerry/guard", nil, "members"},
	{"usage.json", "/v1/operator/usage", nil, "members"},
}

// again are the sources that are asked in each interval. The names of their files get a number.
var again = []source{
	{"metrics.prom", "/metrics", nil, "metrics"},
	{"goroutine.txt", "/debug/pprof/goroutine", url.Values{"debug": {"2"}}, "pprof"},
	{"heap.prof", "/debug/pprof/heap", nil, "pprof"},
}

// during are the sources that take the whole time.
func during(d time.Duration) []source {
	seconds := url.Values{"seconds": {strconv.Itoa(int(max(d, time.Second).Seconds()))}}
	return []source{
		{"log.json", "/v1/agent/monitor", url.Values{"loglevel": {"debug"}, "logjson": {"true"}}, "logs"},
		{"profile.prof", "/debug/pprof/profile", seconds, "pprof"},
	}
}

var captures = []string{"agent", "host", "logs", "members", "metrics", "pprof"}

type options struct {
	duration, interval time.Duration
	output             string
	capture            []string
}

// New returns the command.
func New() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "debug",
		Short: "Gather what helps to find a fault into one archive",
		Long: `Gather what helps to find a fault into one archive: the configuration and state of
the agent, its members, host and metrics, its log for a while, and, where
enable_debug is set, profiles. The archive has no secrets: configuration is shown
without them, and no keys, values or tokens are asked for. It has names and
addresses of services and hosts. A part that cannot be had is listed in
index.json, with the reason.`,
		Example: `  skerry debug -duration 30s
  skerry debug -capture agent,metrics -output /tmp/fault`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.DurationVar(&o.duration, "duration", defaultDuration, "`time` for which the log and profiles are taken")
	f.DurationVar(&o.interval, "interval", defaultInterval, "`time` between two readings of the metrics")
	f.StringVar(&o.output, "output", "", "`name` of the archive, without .tar.gz; default skerry-debug- and the time")
	f.StringSliceVar(&o.capture, "capture", captures, "`parts` of it, separated by commas: "+strings.Join(captures, ", "))
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		return o.run(ctx, c, out)
	})
}

func (o *options) check() error {
	switch {
	case o.duration < leastInterval:
		return connect.Usagef("-duration: %v: want %v or more", o.duration, leastInterval)
	case o.interval < leastInterval:
		return connect.Usagef("-interval: %v: want %v or more", o.interval, leastInterval)
	}
	for _, c := range o.capture {
		if !slices.Contains(captures, c) {
			return connect.Usagef("-capture: %q: want some of %s", c, strings.Join(captures, ", "))
		}
	}
	return nil
}

// index is the file index.json of the archive.
type index struct {
	Agent    string
	Began    time.Time
	Duration string
	Interval string
	Files    []string
	Missing  map[string]string // files that could not be had, and why
}

// archive is a folder that becomes an archive.
type archive struct {
	c   *connect.Connection
	dir string

	mu    sync.Mutex
	index index
	first error
}

func (o *options) run(ctx context.Context, c *connect.Connection, out io.Writer) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	began := time.Now()
	name := o.output
	if name == "" {
		name = "skerry-debug-" + began.UTC().Format("20060102T150405Z")
	}
	file, err := os.OpenFile(name+".tar.gz", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			os.Remove(file.Name())
		}
	}()
	dir, err := os.MkdirTemp(filepath.Dir(file.Name()), ".skerry-debug-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	a := &archive{c: c, dir: dir, index: index{Agent: c.Address, Began: began.UTC(), Duration: o.duration.String(), Interval: o.interval.String(), Missing: map[string]string{}}}
	fmt.Fprintf(out, "gathering for %v from %s\n", o.duration, c.Address)
	a.gather(ctx, o)
	if len(a.index.Files) == 0 {
		return a.first
	}
	if err := a.write(file, filepath.Base(name)); err != nil {
		return err
	}
	for _, missing := range slices.Sorted(maps.Keys(a.index.Missing)) {
		fmt.Fprintf(out, "without %s: %s\n", missing, a.index.Missing[missing])
	}
	_, err = fmt.Fprintln(out, "saved", file.Name())
	return err
}

// gather asks all sources until the time has passed or ctx ends.
func (a *archive) gather(ctx context.Context, o *options) {
	ctx, stop := context.WithTimeout(ctx, o.duration)
	defer stop()
	var all sync.WaitGroup
	for _, s := range during(o.duration) {
		if slices.Contains(o.capture, s.capture) {
			all.Go(func() { a.take(ctx, s, s.file, o.duration) })
		}
	}
	for _, s := range once {
		if slices.Contains(o.capture, s.capture) {
			a.take(ctx, s, s.file, 0)
		}
	}
	t := time.NewTicker(o.interval)
	defer t.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		for _, s := range again {
			if slices.Contains(o.capture, s.capture) {
				a.take(ctx, s, fmt.Sprintf("%03d-%s", n, s.file), 0)
			}
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
	all.Wait()
}

// take writes the answer of a source to a file. One that streams ends with ctx; the others have some time more.
func (a *archive) take(ctx context.Context, s source, file string, lasts time.Duration) {
	streams := s.capture == "logs"
	if !streams {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lasts+answerWithin)
		defer cancel()
	}
	err := a.copy(ctx, s, file)
	if streams && ctx.Err() != nil {
		err = nil // it goes on for as long as it is read
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.index.Missing[file] = err.Error()
		if a.first == nil {
			a.first = err
		}
		return
	}
	a.index.Files = append(a.index.Files, file)
}

func (a *archive) copy(ctx context.Context, s source, file string) error {
	body, err := a.c.Open(ctx, http.MethodGet, s.path, maps.Clone(s.query), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := os.OpenFile(filepath.Join(a.dir, file), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.LimitReader(body, maxFile))
	return errors.Join(err, f.Close())
}

// write writes the archive. All files are below a folder of its name.
func (a *archive) write(to io.Writer, name string) error {
	slices.Sort(a.index.Files)
	text, err := json.MarshalIndent(&a.index, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(a.dir, "index.json"), text, 0o600); err != nil {
		return err
	}
	zip := gzip.NewWriter(to)
	w := tar.NewWriter(zip)
	for _, file := range append([]string{"index.json"}, a.index.Files...) {
		if err := add(w, filepath.Join(a.dir, file), name+"/"+file, a.index.Began); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), zip.Close())
}

func add(w *tar.Writer, path, name string, at time.Time) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: info.Size(), ModTime: at}); err != nil {
		return err
	}
	_, err = io.CopyN(w, f, info.Size())
	return err
}
