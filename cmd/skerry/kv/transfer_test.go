package kv

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/skerryhq/skerry"
)

func TestParseEntries(t *testing.T) {
	const data = `[{"key": "a/b", "flags": 18446744073709551615, "value": "MQ=="}, {"key": "/a//c/", "value": ""}, {"key": "../d", "value": null}]`
	for prefix, want := range map[string]string{"": "a/b a//c/ ../d", "x": "x/a/b x/a//c/ x/../d", "/x/y/": "x/y/a/b x/y/a//c/ x/y/../d"} {
		entries, err := parseEntries([]byte(data), prefix)
		if err != nil {
			t.Fatal(err)
		}
		keys := []string{}
		for _, e := range entries {
			keys = append(keys, e.Key)
		}
		if got := strings.Join(keys, " "); got != want {
			t.Errorf("prefix %q: %s, want %s", prefix, got, want)
		}
		if entries[0].Flags != 1<<64-1 || string(entries[0].Value) != "1" {
			t.Errorf("%+v", entries[0])
		}
	}
}

func FuzzParseEntries(f *testing.F) {
	f.Add([]byte(`[{"key": "a", "flags": 1, "value": "MQ=="}]`), "p/")
	f.Add([]byte(`[] x`), "")
	f.Fuzz(func(t *testing.T, data []byte, prefix string) {
		entries, err := parseEntries(data, prefix)
		if err != nil {
			if skerry.KindOf(err) != skerry.Invalid {
				t.Errorf("%v is not the input's fault", err)
			}
			return
		}
		for _, e := range entries {
			if e.Key == "" || strings.HasPrefix(e.Key, "/") {
				t.Errorf("key %q", e.Key)
			}
		}
		// What is exported is imported as it was.
		out, err := json.Marshal(entries)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseEntries(out, "")
		if err != nil || len(again) != len(entries) {
			t.Fatalf("%v in %s", err, out)
		}
		for i := range again {
			if again[i].Flags != entries[i].Flags || !bytes.Equal(again[i].Value, entries[i].Value) {
				t.Errorf("%+v became %+v", entries[i], again[i])
			}
		}
	})
}
