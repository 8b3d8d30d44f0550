package consul

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skerryhq/skerry"
)

// hostileText draws texts that hold whatever an encoding may use to part them.
func hostileText(t *rapid.T, label string) string {
	words := []string{"", "a", "b", "ab", "\x00", "\x00t", "\x00m", "\x00f", "\x01", "\x02", "/", "/gzip", "passing", "true", "false", "1", "2", "&", "=", "%00", "?", "é", "\xff"}
	out := ""
	for _, w := range rapid.SliceOfN(rapid.SampledFrom(words), 0, 4).Draw(t, label) {
		out += w
	}
	return out
}

func hostileKey(t *rapid.T, label string) answerKey {
	list := func(what string) (out []string) {
		for i := range rapid.IntRange(0, 3).Draw(t, label+what) {
			out = append(out, hostileText(t, fmt.Sprint(label, what, i)))
		}
		return out
	}
	return answerKey{
		passing: rapid.Bool().Draw(t, label+"passing"), tags: list("tags"), meta: list("meta"),
		filter: hostileText(t, label+"filter"), rules: hostileText(t, label+"rules"),
	}
}

func (k answerKey) equal(o answerKey) bool {
	return k.passing == o.passing && k.filter == o.filter && k.rules == o.rules && slices.Equal(k.tags, o.tags) && slices.Equal(k.meta, o.meta)
}

// Answers that depend on different things have different keys, also beside their
// compressed forms.
func TestAnswerKeysDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := hostileKey(t, "a "), hostileKey(t, "b ")
		packed := rapid.Bool().Draw(t, "packed")
		if same := a.encode(packed) == b.encode(packed); same != a.equal(b) {
			t.Fatalf("keys equal: %v\n%+v\n%+v", same, a, b)
		}
		if a.encode(true) == b.encode(false) {
			t.Fatalf("a compressed answer and a plain one have one key\n%+v\n%+v", a, b)
		}
	})
}

func FuzzMemoKey(f *testing.F) {
	f.Add("a", "b", "ab", "")
	f.Add("a\x00tb", "", "a", "b")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		if same := skerry.MemoKey(a, b) == skerry.MemoKey(c, d); same != (a == c && b == d) {
			t.Errorf("%q %q and %q %q: %v", a, b, c, d, same)
		}
		if skerry.MemoKey(a, b) == skerry.MemoKey(c) || skerry.MemoKey(a, b) == skerry.MemoKey(a, b, d) {
			t.Errorf("%q %q, %q, %q: keys of different lengths are the same", a, b, c, d)
		}
	})
}

// ruled is an identity that sees all that its rules name.
type ruled struct {
	skerry.Identity
	rules     string
	anonymous bool
}

func (r ruled) RulesKey() string { return r.rules }
func (r ruled) Anonymous() bool  { return r.anonymous }
func (ruled) Expires() time.Time { return time.Time{} }

// Requests of different askers, encodings or targets do not share an answer.
func TestQuestionsDiffer(t *testing.T) {
	fronts := []*front{{}, {}}
	draw := func(t *rapid.T, label string) (question, []any) {
		target := "/v1/health/service/web?" + url.PathEscape(hostileText(t, label+"target"))
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		who := ruled{rules: hostileText(t, label+"rules"), anonymous: rapid.Bool().Draw(t, label+"anonymous")}
		encoding := rapid.SampledFrom([]string{"", "gzip", "identity"}).Draw(t, label+"encoding")
		n := rapid.IntRange(0, 1).Draw(t, label+"tongue")
		q := request{f: fronts[n], r: &http.Request{URL: u, Header: http.Header{"Accept-Encoding": {encoding}}}, route: &route{path: "/v1/health/service/", discovery: true}, who: who}
		k, ok := q.question()
		if !ok {
			t.Fatal("no question")
		}
		return k, []any{target, who.rules, who.anonymous, encoding == "gzip", n}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, of := draw(t, "a ")
		b, or := draw(t, "b ")
		if same := a == b; same != slices.Equal(of, or) {
			t.Errorf("questions equal: %v\n%v\n%v", same, of, or)
		}
	})
}

// The example that was found: one query's answer was another's.
func TestAnswersOfQueriesDiffer(t *testing.T) {
	v := &skerry.View{Service: "web"}
	keys := []answerKey{{tags: []string{"a\x00tb"}}, {tags: []string{"a", "b"}}, {filter: "x"}, {filter: "x/gzip"}, {meta: []string{"x"}}, {tags: []string{"x"}}, {}}
	for i, k := range keys {
		for packed := range 2 {
			want := []byte{byte(i), byte(packed)}
			if got := k.memo(v, packed == 1, func() []byte { return want }); !bytes.Equal(got, want) {
				t.Errorf("%+v, packed %d: it has the answer of %v", k, packed, got)
			}
		}
	}
}

// What clients choose cannot fill a view, nor push out what others need.
func TestChosenAnswersAreBounded(t *testing.T) {
	v := &skerry.View{Service: "web"}
	rendered := 0
	for i := range 1000 {
		v.MemoChosen(skerry.MemoKey("t", fmt.Sprint(i)), func() []byte { rendered++; return make([]byte, 100) })
	}
	for i := range 1000 {
		v.MemoChosen(skerry.MemoKey("t", fmt.Sprint(i)), func() []byte { rendered++; return make([]byte, 100) })
	}
	if rendered != 2000-64 {
		t.Errorf("%d answers were rendered, want %d", rendered, 2000-64)
	}
	large := func() []byte { return make([]byte, 40<<20) }
	views := make([]*skerry.View, 4)
	kept := 0
	for i := range views {
		views[i] = &skerry.View{}
		first := views[i].MemoChosen("k", large)
		if again := views[i].MemoChosen("k", large); &again[0] == &first[0] {
			kept++
		}
	}
	if kept != 1 {
		t.Errorf("%d answers of 40 MiB are kept, want 1", kept)
	}
	v.Memo("fixed", func() []byte { return []byte("x") })
	v.Memo("fixed", func() []byte { t.Error("a fixed key was not kept"); return nil })
}
