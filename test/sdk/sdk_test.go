package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/sdk/work"
)

var zero = time.UnixMicro(1_700_000_000_000_000)

// at returns the record of a call sent after zero, that took ms milliseconds.
func at(after time.Duration, server, code uint8, ms uint32) work.Record {
	return work.Record{At: zero.Add(after).UnixMicro(), Took: ms * 1000, Server: server, Code: code}
}

func TestRecordsAreReadAsWritten(t *testing.T) {
	want := []work.Record{at(0, 3, 14, 20), {At: -1, Took: 1<<32 - 1, Code: work.Ready, Server: work.NoServer, Caller: 1<<16 - 1}}
	var text []byte
	for _, r := range want {
		text = r.Append(text)
	}
	var got []work.Record
	cut := append(text, text[:7]...) // the last one of a caller that was killed
	if err := work.Read(bytes.NewReader(cut), func(r work.Record) { got = append(got, r) }); err != nil || !slices.Equal(got, want) {
		t.Errorf("read %+v, %v", got, err)
	}
}

func TestFigures(t *testing.T) {
	records := []work.Record{
		at(0, 0, 0, 1), at(100*time.Millisecond, 1, 0, 2), at(200*time.Millisecond, 1, 14, 3), at(300*time.Millisecond, work.NoServer, 4, 4),
		at(1500*time.Millisecond, 0, 0, 100), at(2*time.Second, 0, 0, 1000),
	}
	w := window{zero, zero.Add(2 * time.Second)}
	in := w.of(records)
	if len(in) != 5 {
		t.Fatalf("%d calls of the window: its end is not of it", len(in))
	}
	if s := share(in, 0); s != 50 {
		t.Errorf("server 0 has %v %% of the calls of which it is known where they went", s)
	}
	if n := len(failed(in)); n != 2 {
		t.Errorf("%d calls failed", n)
	}
	if q50, q100 := quantile(in, .5), quantile(in, 1); q50 != 3 || q100 != 100 {
		t.Errorf("median %v ms, longest %v ms", q50, q100)
	}
	counts := bySecond(records, w, func(of []work.Record) float64 { return float64(len(of)) })
	if !slices.Equal(counts, []float64{4, 1}) {
		t.Errorf("calls by second: %v", counts)
	}
	if s := spreadOf([]float64{9, 1, 2, 4}); s != (spread{3, 1, 9}) {
		t.Errorf("%+v", s)
	}
	ill := seconds(window{zero, zero.Add(3 * time.Second)}, []window{{zero.Add(time.Second), zero.Add(2 * time.Second)}})
	if !slices.Equal(ill, []float64{0, 1, 0}) {
		t.Errorf("ill: %v", ill)
	}
}

func TestCrashFigures(t *testing.T) {
	s := &suite{}
	killed := zero.Add(10 * time.Second)
	s.killFigures(1, ours, []work.Record{
		at(9990*time.Millisecond, 1, 14, 20), // under way at it, lost
		at(9995*time.Millisecond, 1, 0, 20),  // under way at it, made again elsewhere
		at(9995*time.Millisecond, 2, 0, 20),
		at(10_004*time.Millisecond, 1, 14, 2), // before it was gone
		at(10_040*time.Millisecond, 1, 14, 1), at(10_050*time.Millisecond, 1, 14, 1),
		at(18*time.Second, 2, 14, 1), // of the time after
	}, killed, killed.Add(5*time.Millisecond), zero.Add(15*time.Second))
	for metric, want := range map[string]float64{"failed": 4, "in flight": 3, "failed beyond": 1, "last": 50} {
		if got := s.raw.values("kill", ours, metric); !slices.Equal(got, []float64{want}) {
			t.Errorf("%s: %v, want %v", metric, got, want)
		}
	}
	one := func(caller uint16, r work.Record) work.Record { r.Caller = caller; return r }
	s.hangFigures("stop", 1, ours, []work.Record{
		one(0, at(9500*time.Millisecond, 2, 4, 2000)), one(0, at(11*time.Second, 2, 4, 2000)), one(1, at(12*time.Second, 2, 4, 2000)), one(1, at(12*time.Second, 3, 0, 5)),
	}, window{killed, zero.Add(30 * time.Second)})
	for metric, want := range map[string]float64{"calls": 3, "failed": 3, "failed per caller": 2, "last": 2} {
		if got := s.raw.values("stop", ours, metric); !slices.Equal(got, []float64{want}) {
			t.Errorf("%s: %v, want %v", metric, got, want)
		}
	}
}

func TestFewestServers(t *testing.T) {
	var records []work.Record
	for n := range 100 {
		server := uint8(n % 3)
		if n >= 50 && n < 75 {
			server = 0 // for 2.5 s
		}
		records = append(records, at(time.Duration(n)*100*time.Millisecond, server, 0, 1))
	}
	if n := fewest(records); n != 1 {
		t.Errorf("%d", n)
	}
	if n := fewest(records[:50]); n != 3 {
		t.Errorf("%d", n)
	}
}

// What is met is computed; what was not measured is not met.
func TestVerdicts(t *testing.T) {
	r := &raw{}
	for n, v := range []float64{.5, 0, 2} {
		r.Samples = append(r.Samples, sample{"x", ours, "m", n, v}, sample{"x", "p2c_ewma", "m", n, 9})
	}
	for _, tc := range []struct {
		p    promise
		want string
		cell string
	}{
		{most("x", "m", "", "%", median, .5), "met", "0.50 % (0–2)"},
		{most("x", "m", "", "%", median, .4), "**not met**", "0.50 % (0–2)"},
		{most("x", "m", "", "", every, 1), "**not met**", "0.50 (0–2)"},
		{least("x", "m", "", "", every, 0), "met", "0.50 (0–2)"},
		{least("x", "m", "", "", every, .1), "**not met**", "0.50 (0–2)"},
		{most("x", "m", "", "", sum, 2.5), "met", "2.50"},
		{most("x", "m", "", "", sum, 2.4), "**not met**", "2.50"},
		{most("y", "m", "", "", sum, 2.4), "not measured", "–"},
		{show("x", "m", "", ""), "", "0.50 (0–2)"},
	} {
		if got := tc.p.verdict(r); got != tc.want {
			t.Errorf("%+v: %s", tc.p, got)
		}
		if got := tc.p.cell(r, ours); got != tc.cell {
			t.Errorf("%+v: %s", tc.p, got)
		}
	}
	for v, want := range map[float64]string{0: "0", .014: "0.014", 1: "1", 12.34: "12.3", 1234.6: "1,235", 1e6: "1,000,000", 100: "100"} {
		if got := number(v); got != want {
			t.Errorf("%v is written %s", v, got)
		}
	}
}

// go-zero's shuffle is what was computed for it before; ours keeps nearly everything.
func TestSubsets(t *testing.T) {
	s := &suite{}
	s.subsets(1, 2)
	for _, tc := range []struct {
		who, metric string
		from, to    float64
	}{
		{"p2c_ewma", "connections", 30, 32}, {"p2c_ewma", "max/mean", 1.8, 2.6},
		{"skerry_p2c, by hash", "connections", 0, .2}, {"skerry_p2c, by ring", "connections", 0, .2}, {"skerry_p2c, by ring", "max/mean", 1, 1.1},
	} {
		if v := s.raw.values("subset", tc.who, tc.metric); len(v) != 1 || v[0] < tc.from || v[0] > tc.to {
			t.Errorf("%s, %s: %v", tc.who, tc.metric, v)
		}
	}
}

// Two rows in their shortest form, with real processes: the measurement works.
func TestSmoke(t *testing.T) {
	log, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	r, err := newRig(t.Context(), log, append([]string{"server", "skerry"}, policies...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	const rate = 200
	s := &suite{rig: r}
	const ill = 4 * time.Second
	if err := s.faults(policies, 1, load{"heavy", 4, rate}, 2*time.Second, []step{{"allfast", ill, 0}}, false); err != nil {
		t.Fatal(err)
	}
	one := func(row, policy, metric string) float64 {
		t.Helper()
		v := s.raw.values(row, policy, metric)
		if len(v) != 1 {
			t.Fatalf("%s, %s, %s: %v", row, policy, metric, v)
		}
		return v[0]
	}
	for _, p := range policies {
		calls, share, errors := one("allfast-heavy", p, "calls"), one("allfast-heavy", p, "share"), one("allfast-heavy", p, "errors")
		t.Logf("%s: %v calls, share %.2f %%, errors %.2f %%", p, calls, share, errors)
		if want := float64(rate) * ill.Seconds(); calls < .8*want || calls > 1.2*want {
			t.Errorf("%s: %v calls, not about %v", p, calls, want)
		}
		// All calls of the ill server fail, and no other; a few were sent just before.
		if d := share - errors; d < -1 || d > 1.5 {
			t.Errorf("%s: share %.2f %%, errors %.2f %%", p, share, errors)
		}
	}
	if v := one("allfast-heavy", "round_robin", "share"); v < 8 || v > 12 {
		t.Errorf("round_robin sends %.2f %% to one of ten", v)
	}
	if v := one("allfast-heavy", ours, "share"); v > 6 {
		t.Errorf("we send %.2f %% to a server that fails always", v)
	}
	if n := len(s.raw.seconds("faults-heavy", ours, "share")); n != 6 {
		t.Errorf("%d seconds", n)
	}
	if err := s.oneDeadOurs(1); err != nil {
		t.Fatal(err)
	}
	if one("one dead", ours, "starts") != 1 {
		t.Error("a caller does not start while one of three addresses is dead")
	}
	text := render(&s.raw)
	if !strings.Contains(text, "| a caller starts (1: yes) | ≥ 1, each run | 1 |") || !strings.Contains(text, "not measured") {
		t.Error(text)
	}
	for _, f := range figures {
		if f.row == "faults-heavy" && !strings.Contains(f.draw(&s.raw), "<polyline") {
			t.Errorf("%s has no line", f.file)
		}
	}
}
