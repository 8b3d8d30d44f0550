package bus

import (
	"strings"
	"testing"
)

func FuzzToken(f *testing.F) {
	for _, name := range []string{"a", "node-1.dc", "ü *>=", "=41", strings.Repeat(".", maxName)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		tok := token(name)
		if strings.ContainsAny(tok, ". *>\t\r\n\x00") {
			t.Fatalf("%q becomes %q", name, tok)
		}
		back, ok := untoken(tok)
		if ok != (checkName(name) == nil) || ok && back != name {
			t.Fatalf("%q becomes %q, that becomes %q, %v", name, tok, back, ok)
		}
		if back, ok := untoken(name); ok && token(back) != name {
			t.Fatalf("%q has a second token %q", back, name)
		}
	})
}

func FuzzParse(f *testing.F) {
	s, err := newSubjects("dc 1", "me.too")
	if err != nil {
		f.Fatal(err)
	}
	other, _ := newSubjects("dc 1", "other")
	for _, subject := range []string{other.all(), other.one("me.too"), other.here(), s.all(), "skerry.dc=201.to.x.y", "skerry.dc=201.all.", "skerry.dc=201.to.me=2Etoo.a.b", ""} {
		f.Add(subject)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		k, from, ok := s.parse(subject)
		if !ok {
			return
		}
		sender := subjects{prefix: s.prefix, self: from}
		if again := map[kind]string{toAll: sender.all(), toOne: sender.one("me.too"), here: sender.here()}[k]; again != subject {
			t.Fatalf("%q is read as %v of %q, which is %q", subject, k, from, again)
		}
	})
}

func TestParse(t *testing.T) {
	s, _ := newSubjects("dc1", "a")
	b, _ := newSubjects("dc1", "b.c")
	for subject, want := range map[string]kind{b.all(): toAll, b.one("a"): toOne, b.here(): here} {
		k, from, ok := s.parse(subject)
		if name, _ := untoken(from); !ok || k != want || name != "b.c" {
			t.Errorf("%s: %v of %q, %v", subject, k, from, ok)
		}
	}
	elsewhere, _ := newSubjects("dc2", "b")
	for _, subject := range []string{b.one("other"), elsewhere.all(), "skerry.dc1", "skerry.dc1.", "skerry.dc1.all", "skerry.dc1.all.", "skerry.dc1.to.a", "skerry.dc1.to.a.",
		"skerry.dc1.to.a.b.c", "skerry.dc1.all.b.c", "skerry.dc1.other.b", "xskerry.dc1.all.b"} {
		if _, _, ok := s.parse(subject); ok {
			t.Errorf("%s is taken", subject)
		}
	}
	if n := len(s.one(strings.Repeat("*", maxName))) + len(token(strings.Repeat("*", maxName)))*2; n > 4000 {
		t.Errorf("the longest subject has %d bytes", n)
	}
}
