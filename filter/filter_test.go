package filter_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	bexpr "github.com/hashicorp/go-bexpr"

	"github.com/skerryhq/skerry/filter"
)

type endpoint struct {
	Address string
	Port    int
}

type shape struct {
	Node    inner
	Service string
	Port    int
	Small   int8
	Count   uint64
	Share   float32
	Up      bool
	Tags    []string
	Numbers []int
	Meta    map[string]string
	Tagged  map[string]endpoint
	Checks  []inner
	Raw     json.RawMessage
	Hidden  string `bexpr:"-"`
	Other   string `bexpr:"other,alias"`
	Byte    map[int]string
}

type inner struct {
	Name   string
	Status string
	Meta   map[string]string
	Tags   []string
}

var values = []shape{
	{},
	{
		Node: inner{Name: "n1", Status: "passing", Meta: map[string]string{"x y": "1", "zone": "a"}}, Service: "web", Port: 8080, Small: 3,
		Count: 7, Share: 0.1, Up: true, Tags: []string{"v1", "a"}, Numbers: []int{1, 2}, Meta: map[string]string{"a": "b"},
		Tagged: map[string]endpoint{"lan": {"10.0.0.1", 80}}, Checks: []inner{{Name: "c1", Status: "critical"}, {Name: "c2", Tags: []string{"t"}}},
		Raw: json.RawMessage(`{}`), Other: "o", Byte: map[int]string{1: "x"},
	},
}

// same holds the filter against go-bexpr: what it accepts, its words, what it keeps.
func same(t *testing.T, expression string) {
	t.Helper()
	f, err := filter.New(expression, shape{})
	ev, wantErr := bexpr.CreateEvaluatorForType(expression, nil, shape{})
	var limit *filter.Limit
	if errors.As(err, &limit) {
		return
	}
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%q: error %v, go-bexpr's %v", expression, err, wantErr)
	}
	if err != nil {
		if err.Error() != wantErr.Error() && utf8.ValidString(expression) {
			t.Fatalf("%q: error\n%v\ngo-bexpr's\n%v", expression, err, wantErr)
		}
		return
	}
	for i, v := range values {
		got, err := f.Match(v)
		want, wantErr := ev.Evaluate(v)
		if got != want || (err == nil) != (wantErr == nil) {
			t.Fatalf("%q of value %d: %v %v, go-bexpr's %v %v", expression, i, got, err, want, wantErr)
		}
	}
}

// slow reports whether go-bexpr would take long: it is exponential in the nesting.
func slow(expression string) bool {
	return len(expression) > 300 || strings.Count(expression, "(") > 3 || strings.Count(expression, "not") > 5
}

var seeds = []string{
	"", " ", "a", "(", ")", "()", "Service == web", `Service == "web"`, "Service==web", " ( Service == web ) ", "(Service == web) x",
	"Service != `web`", "Port == 8080", "Port == abc", "Port == 0x1f90", "Port == 80x", "Port == -1", "Small == 300", "Count == -1",
	"Share == 0.1", "Up == true", "Up == maybe", "v1 in Tags", `"v1" not in Tags`, "Tags contains v1", "Tags not contains v1",
	"Tags is empty", "Tags is not empty", "Numbers contains 2", "Numbers contains two", "Meta.a == b", `Meta["a"] == b`, "Meta[`a`] != b",
	`Node.Meta["x y"] == 1`, "Node.Meta.none != 1", "Node.Meta.none matches x", "Node.Meta contains zone", "Node.Meta.none is empty",
	"Checks.Status == critical", "Checks.Name != c1", "Checks is empty", "Checks.Tags contains t", "Tagged.lan.Port == 80", "Tagged.wan.Port != 80",
	"Service matches `^w.b$`", "Service not matches w", "Service matches `[`", "Port matches 8", "Service == web and Port == 8080 or Up == false",
	"not Service == web", "not not Service == web", "not (Service == web)", "(Service == web) and (Port == 1)", "((Service == web))",
	"(Service == web", "Service == web)", "Service == web and", "Service == web and (Port == 8080", `Service == "web`, `Meta["a`, `Meta["a"`, "Meta[a] == b",
	`Service == "\q"`, `Service == "\q" and Meta == "\z"`, "Nope == 1", "Service.Nope == 1", "Hidden == 1", "Other == o", "other == o", "alias == o",
	"5x in Tags", "v1 in 5", "not in Tags", "not == 3", "Raw contains 123", "Raw is empty", "Byte is empty", "Byte contains 1", "Byte.a == 1",
	"Service == web\nand Port == 1", "Service == \xff", "Service == \"é\"", "é", "Service == wéb", "Service ==", "Service is", "Service is not", "-5 in Numbers", "0 in Numbers", "01 in Numbers",
	"Node == x", "Checks == x", "Tagged is not empty", "Tagged contains lan", "Service == web or Port == 1 and not Up == true",
}

func TestSameAsBexpr(t *testing.T) {
	for _, s := range seeds {
		same(t, s)
	}
}

// Expressions made of the grammar's own words find more than random bytes do.
func TestSameAsBexprAtRandom(t *testing.T) {
	words := append([]string{"(", ")", "not", "and", "or", "==", "!=", "is", "empty", "in", "contains", "matches", ".", "[", "]", "-", "0", "12", "1.5",
		`"`, "`", `"x y"`, "`a`", " ", " ", " ", "\n", "Service", "Port", "Tags", "Meta", "Node", "Checks", "Status", "web", "v1", "a", "_", "é"}, seeds[6:30]...)
	n := 20_000
	if testing.Short() {
		n = 2_000
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range n {
		var b strings.Builder
		for range 1 + r.IntN(12) {
			b.WriteString(words[r.IntN(len(words))])
			if r.IntN(3) > 0 {
				b.WriteByte(' ')
			}
		}
		if s := b.String(); !slow(s) {
			same(t, s)
		}
	}
}

func FuzzSameAsBexpr(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		if !slow(expression) {
			same(t, expression)
		}
	})
}

// A nil pointer on the way of a selector is a value that is not there.
func TestMatchNil(t *testing.T) {
	type place struct{ Region string }
	type service struct{ Locality *place }
	for expression, want := range map[string]bool{"Locality.Region == eu": false, "Locality.Region != eu": true} {
		f, err := filter.New(expression, service{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.Match(service{}); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", expression, got, err, want)
		}
	}
}

// hostile are expressions that are large, deep, or ask for more work than they look.
var hostile = map[string]struct {
	text  string
	limit bool // a Limit must refuse it
}{
	"open parentheses":        {strings.Repeat("(", 300_000), true},
	"closed at 64 KB":         {strings.Repeat("(", 32_000) + "Port == 1" + strings.Repeat(")", 32_000), true},
	"balanced parentheses":    {strings.Repeat("(", 63) + "Port == 1" + strings.Repeat(")", 63), false},
	"too deep by one":         {strings.Repeat("(", 65) + "Port == 1" + strings.Repeat(")", 65), true},
	"unclosed, deep":          {strings.Repeat("(", 60) + "Port == 1", false},
	"nots":                    {strings.Repeat("not ", 255_000) + "Port == 1", true},
	"nots at 64 KB":           {strings.Repeat("not ", 16_000) + "Port == 1", true},
	"few nots":                {strings.Repeat("not ", 60) + "Port == 1", false},
	"nots of parentheses":     {strings.Repeat("not (", 31) + "Port == 1" + strings.Repeat(")", 31), false},
	"many comparisons":        {strings.Repeat("Port==1 or ", 5_900) + "Port==1", true},
	"comparisons":             {strings.Repeat("Port==1 or ", 1_000) + "Port==1", false},
	"long selector":           {strings.Repeat("a.", 30_000) + "b == 1", true},
	"long string":             {"Service == `" + strings.Repeat("x", 60_000) + "`", false},
	"unterminated string":     {"Service == `" + strings.Repeat("x", 60_000), false},
	"bad strings":             {strings.Repeat(`Service == "\q" or `, 900) + "Port == 1", false},
	"many bad indexes":        {strings.Repeat(`Meta["a" == 1 or `, 900) + "Port == 1", false},
	"white space":             {strings.Repeat(" ", 60_000) + "Port == 1", false},
	"large repeat":            {"Service matches `" + strings.Repeat("x{1000}", 2_000) + "`", true},
	"nested repeat":           {"Service matches `((x{10}){10}){10}y{900}z{900}`", true},
	"Unicode classes":         {"Service matches `" + strings.Repeat(`\pL`, 20_000) + "`", true},
	"many regexps":            {strings.Repeat("Service matches `x{900}` or ", 1_000) + "Port == 1", true},
	"a regexp of usual size":  {"Service matches `^(web|api)-[0-9]{1,3}$`", false},
	"alternating parentheses": {strings.Repeat("(Port == 1) and ", 1_000) + "Port == 1", false},
}

// Every hostile expression costs time and memory in proportion to its size.
func TestHostile(t *testing.T) {
	for name, h := range hostile {
		t.Run(name, func(t *testing.T) {
			_, err := filter.New(h.text, shape{})
			var limit *filter.Limit
			if errors.As(err, &limit) != h.limit {
				t.Fatalf("error %v, want a limit: %v", err, h.limit)
			}
			if got, most := memoryOf(h.text), 10*len(h.text)+256<<10; got > most {
				t.Errorf("%d bytes were allocated for an expression of %d, more than %d", got, len(h.text), most)
			}
		})
	}
}

// memoryOf returns the bytes allocated, whether collected or not, to compile.
func memoryOf(text string) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	filter.New(text, shape{})
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

func TestRegexp(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"^web-[0-9]+$": true, "x{1000}": true, "(x{1000}){2}": false, "x{1000}y{1000}z{1000}": false, strings.Repeat("a", 1_000): true,
		strings.Repeat(`\pL`, 33): false, strings.Repeat("a", filter.MaxPattern+1): false, "[": false,
	} {
		if _, err := filter.Regexp(pattern); (err == nil) != ok {
			t.Errorf("%.20q: error %v, want one: %v", pattern, err, !ok)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		text := strings.Repeat("Port == 1 or ", n-1) + "Port == 1"
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := filter.New(text, shape{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	f, err := filter.New(`Service == web and Meta["a"] == b and Checks.Status == critical`, shape{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		f.Match(values[1])
	}
}
