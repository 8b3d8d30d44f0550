// Command sdk measures the SDK's promises, with real processes on loopback, beside
// go-zero's balancer and grpc-go's round_robin in the same run, and writes
// doc/results/sdk.md. See README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// suite collects figures.
type suite struct {
	*rig
	quick  bool
	rate   int           // of our calls in the rolling restart, a second
	behind bool          // our registry is a node agent of a server
	ill    time.Duration // of a fault there

	policies []string // that are measured there

	mu  sync.Mutex
	raw raw
}

// short is a time that only quick runs shorten.
func (s *suite) short(d time.Duration) time.Duration {
	if s.quick {
		return d / 2
	}
	return d
}

// skip notes why a row is not there.
func (s *suite) skip(row, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw.Skipped = append(s.raw.Skipped, row+": "+why)
	fmt.Println(row, "is skipped:", why)
}

// raw is everything that was measured.
type raw struct {
	Commit  string
	Date    string
	Quick   bool
	Behind  bool `json:",omitempty"` // our registry was a node agent of a server
	Loads   []load
	Ill     time.Duration
	Peers   string
	Machine string
	Took    string
	Seeds   int
	Samples []sample
	Series  []series
	Skipped []string
}

func (s *suite) add(v sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw.Samples = append(s.raw.Samples, v)
}

func (s *suite) addSeries(v series) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw.Series = append(s.raw.Series, v)
}

// busy notes how busy the machine was, for the reader to judge the rest by.
func (s *suite) busy(row string, seed int, percent float64) {
	s.add(sample{row, "machine", "busy", seed, percent})
	fmt.Printf("%s, seed %d: processors %.0f %% busy\n", row, seed, percent)
}

func main() {
	s := &suite{}
	var only string
	seeds := flag.Int("seeds", 5, "how many runs of each")
	rows := flag.String("rows", "", "only these, separated by commas: faults, retry, heavy, crashes, drop, rolling, registry, onedead, subset")
	out := flag.String("out", "", "folder for sdk.md and its plots; default: doc/results, of quick runs: none")
	from := flag.String("from", "", "render a file of raw results; measure nothing")
	rawOut := flag.String("raw", "", "file for the raw results; default: one in the folder for temporary files")
	flag.BoolVar(&s.quick, "quick", false, "one seed, short: to see that it works")
	flag.IntVar(&s.rate, "rate", 4000, "calls a second of ours in the rolling restart: fewer where the machine cannot make so many within their deadline")
	flag.BoolVar(&s.behind, "agent", false, "our registry is a node agent of a server")
	flag.StringVar(&only, "policies", strings.Join(policies, ","), "which are measured in the rows of faults")
	flag.DurationVar(&s.ill, "ill", 30*time.Second, "how long a fault lasts in the rows of faults")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if s.quick {
		*seeds = 1
	}
	s.policies = strings.Split(only, ",")
	if err := run(ctx, s, *seeds, *rows, *out, *rawOut, *from); err != nil {
		fmt.Fprintln(os.Stderr, "sdk:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s *suite, seeds int, rows, out, rawOut, from string) error {
	if from != "" {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(data, &s.raw); err != nil {
			return err
		}
		return write(&s.raw, out)
	}
	began := time.Now()
	s.raw = raw{Commit: commit(), Date: began.UTC().Format(time.DateOnly), Quick: s.quick, Behind: s.behind, Seeds: seeds, Loads: loads, Ill: s.ill, Peers: peers(), Machine: machine()}
	if rawOut == "" {
		rawOut = filepath.Join(os.TempDir(), "skerry-sdk-"+began.UTC().Format("20060102-150405")+".json")
	}
	log, err := os.Create(strings.TrimSuffix(rawOut, ".json") + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Println("what the programs complain of:", log.Name())
	r, err := newRig(ctx, log)
	if err != nil {
		return err
	}
	defer r.close()
	s.rig = r
	measured := s.measure(seeds, strings.FieldsFunc(rows, func(r rune) bool { return r == ',' }))
	s.raw.Took = time.Since(began).Round(time.Second).String()
	data, err := json.Marshal(&s.raw)
	if err == nil {
		err = os.WriteFile(rawOut, data, 0o644)
	}
	if err = errors.Join(measured, err); err != nil {
		return err
	}
	fmt.Println("raw results:", rawOut)
	if s.quick && out == "" {
		fmt.Print(render(&s.raw))
		return nil
	}
	return write(&s.raw, out)
}

// commit names the measured version.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// peers names the compared balancers, with their versions.
func peers() string {
	var all []string
	for _, m := range []string{"github.com/zeromicro/go-zero", "google.golang.org/grpc"} {
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Path}} {{.Version}}", m).Output()
		if err == nil {
			all = append(all, strings.TrimSpace(string(out)))
		}
	}
	return strings.Join(all, ", ")
}

func machine() string {
	return fmt.Sprintf("%d processors, %s, %s/%s", runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// measure measures the rows that are wanted; none means all.
func (s *suite) measure(seeds int, rows []string) error {
	want := func(row string) bool { return len(rows) == 0 || slices.Contains(rows, row) }
	// The registry is dead for ten minutes: that runs beside the rest.
	beside := make(chan error, 1)
	go func() {
		if !want("registry") {
			beside <- nil
			return
		}
		dead := 10 * time.Minute
		if s.quick {
			dead = 40 * time.Second
		}
		beside <- errors.Join(s.registryDead(1, dead), s.emptyBeside(1))
	}()
	err := s.inTurns(seeds, want)
	return errors.Join(err, <-beside)
}

// inTurns runs the measurements that need the machine for themselves.
func (s *suite) inTurns(seeds int, want func(string) bool) error {
	ill, back := s.ill, 20*time.Second
	for seed := 1; seed <= seeds; seed++ {
		for _, row := range []struct {
			name string
			do   func() error
		}{
			{"subset", func() error { s.subsets(seed, replacements); return nil }},
			{"faults", func() error {
				return s.callers(light, seed, []step{{"slow", ill, back}, {"half", ill, back}, {"fast", ill, 0}}, false)
			}},
			{"retry", func() error {
				return s.callers(light, seed, []step{{"half", ill, 6 * time.Second}, {"fast", ill, 0}}, true)
			}},
			{"heavy", func() error {
				return s.callers(heavy, seed, []step{{"half", ill, 0}}, false)
			}},
			{"side by side", func() error { return s.sideBySide(seed, want) }},
			{"rolling", func() error { return s.rolling(seed) }},
		} {
			if row.name == "side by side" || want(row.name) {
				if err := row.do(); err != nil {
					return fmt.Errorf("%s: %w", row.name, err)
				}
			}
		}
	}
	return nil
}

// sideBySide runs the measurements with few calls at the same time.
func (s *suite) sideBySide(seed int, want func(string) bool) error {
	rows := map[string]func(int) error{"crashes": s.crashes, "drop": s.dropped, "onedead": s.oneDead}
	ended := make(chan error, len(rows))
	cpu := readProcessor()
	started := 0
	for name, do := range rows {
		if want(name) {
			started++
			go func() { ended <- do(seed) }()
		}
	}
	var err error
	for range started {
		err = errors.Join(err, <-ended)
	}
	if started > 0 {
		s.busy("crashes", seed, readProcessor().since(cpu))
	}
	return err
}

// load is callers that are alike.
type load struct {
	Name    string
	Callers int
	Rate    int // calls a second, of all of them
}

// loads are the loads that measure an illness. Its cost depends on how many calls each
// connection has, not on how many callers there are: of the protocol's 100 light callers
// there are ten, of its four heavy ones there is one, with as many calls each, 4 and 100
// a second and connection.
var loads = []load{light, heavy}

var light, heavy = load{"light", 10, 400}, load{"heavy", 1, 1000}

// mostAtOnce is the rate up to which the policies are measured at the same time; above
// it, one after another.
const mostAtOnce = 500

// callers goes through faults with callers of one kind.
func (s *suite) callers(l load, seed int, steps []step, retry bool) error {
	groups := [][]string{s.policies}
	if l.Rate > mostAtOnce {
		groups = nil
		for _, p := range s.policies {
			groups = append(groups, []string{p})
		}
	}
	for _, g := range groups {
		if err := s.faults(g, seed, l, s.short(8*time.Second), steps, retry); err != nil {
			return err
		}
	}
	return nil
}
