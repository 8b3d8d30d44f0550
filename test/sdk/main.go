// Command sdk measures what the SDK promises, with real processes on loopback, beside
// go-zero's balancer and grpc-go's round_robin in the same run, and writes
// doc/results/sdk.md. See README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
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
	quick bool
	rate  int           // calls a second of each policy in the rows of faults
	apart bool          // one policy after another there
	ill   time.Duration // of a fault there

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
	Rate    int // see suite
	Workers int // of each server in the rows of faults
	Light   int // callers
	Heavy   int
	Mean    time.Duration
	Apart   bool
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
	rows := flag.String("rows", "", "only these, separated by commas: faults, retry, crashes, drop, rolling, registry, onedead, subset")
	out := flag.String("out", "", "folder for sdk.md and its plots; default: doc/results, of quick runs: none")
	from := flag.String("from", "", "render a file of raw results; measure nothing")
	rawOut := flag.String("raw", "", "file for the raw results; default: one in the folder for temporary files")
	flag.BoolVar(&s.quick, "quick", false, "one seed, short: to see that it works")
	flag.IntVar(&s.rate, "rps", 800, "calls a second of each policy in the rows of faults")
	flag.StringVar(&only, "policies", strings.Join(policies, ","), "which are measured in the rows of faults")
	flag.BoolVar(&s.apart, "apart", false, "measure one policy after another in the rows of faults")
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
	s.raw = raw{Commit: commit(), Date: began.UTC().Format(time.DateOnly), Quick: s.quick, Seeds: seeds, Rate: s.rate, Workers: s.workers(), Mean: s.mean(), Light: s.loads()[0].callers, Heavy: s.loads()[1].callers, Apart: s.apart, Ill: s.ill, Peers: peers(), Machine: machine()}
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

// commit names what is measured.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// peers names what is measured beside ours, with its versions.
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

// inTurns measures what needs the machine for itself.
func (s *suite) inTurns(seeds int, want func(string) bool) error {
	ill, back := s.ill, 20*time.Second
	for seed := 1; seed <= seeds; seed++ {
		for _, row := range []struct {
			name string
			do   func() error
		}{
			{"subset", func() error { s.subsets(seed, replacements); return nil }},
			{"faults", func() error {
				return s.bothCallers(seed, []step{{"slow", ill, back}, {"half", ill, back}, {"fast", ill, 0}}, false)
			}},
			{"retry", func() error {
				return s.bothCallers(seed, []step{{"half", ill, 6 * time.Second}, {"fast", ill, 0}}, true)
			}},
			{"light", func() error { return s.light(seed, want) }},
			{"rolling", func() error { return s.rolling(seed) }},
		} {
			if row.name == "light" || want(row.name) {
				if err := row.do(); err != nil {
					return fmt.Errorf("%s: %w", row.name, err)
				}
			}
		}
	}
	return nil
}

// light measures at the same time what has few calls.
func (s *suite) light(seed int, want func(string) bool) error {
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
	name    string
	each    float64 // calls a second of each connection, as in the protocol
	callers int     // so many that the rate comes out
}

// loads are what an illness is measured by. What it costs depends on how many calls
// each connection has, not on how many callers there are: the protocol's 100 light
// and 4 heavy ones would need 4,000 calls a second, of each policy.
func (s *suite) loads() []load {
	loads := []load{{name: "light", each: 4}, {name: "heavy", each: 100}}
	for i := range loads {
		l := &loads[i]
		l.callers = max(1, int(math.Round(float64(s.rate)/fleetSize/l.each)))
	}
	return loads
}

// bothCallers goes through faults with light callers and with heavy ones.
func (s *suite) bothCallers(seed int, steps []step, retry bool) error {
	for _, l := range s.loads() {
		groups := [][]string{s.policies}
		if s.apart {
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
	}
	return nil
}
