package conformance

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write doc/differences.md anew")

const (
	knownFile   = "known-differences.json"
	clusterFile = "cluster-differences.json" // at one of three servers
	agentFile   = "agent-differences.json"   // at an agent of three servers
	document    = "../../doc/differences.md"
)

// difference is a step of a scenario that Skerry answers in another way.
type difference struct {
	Scenario string
	Step     int
	Request  string
	Places   []string // of the answer, that may differ
	Reason   string
	May      bool // it differs at times
}

// wanted is something that Skerry does in another way on purpose, beside the recordings.
type wanted struct {
	Of, Consul, Skerry string
	Reason             string
	Test               string // what shows it: a folder, and a test or a file in it
}

type differences struct {
	Differences []difference
	Wanted      []wanted
}

func readKnown(t *testing.T, name string) differences {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var file differences
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return file
}

func TestKnownDifferencesAreComplete(t *testing.T) {
	for _, file := range []string{clusterFile, agentFile} {
		complete(t, slices.Concat(readKnown(t, knownFile).Differences, readKnown(t, file).Differences))
	}
}

func complete(t *testing.T, all []difference) {
	t.Helper()
	type step struct {
		scenario string
		step     int
	}
	seen := map[step]bool{}
	for _, d := range all {
		if d.Reason == "" || d.Request == "" {
			t.Errorf("%s step %d lacks its request or reason", d.Scenario, d.Step)
		}
		if len(d.Places) == 0 {
			t.Errorf("%s step %d does not say where it may differ", d.Scenario, d.Step)
		}
		if s := (step{d.Scenario, d.Step}); seen[s] {
			t.Errorf("%s step %d is there twice", d.Scenario, d.Step)
		} else {
			seen[s] = true
		}
	}
}

// Each wanted difference is shown by a test that is there.
func TestWantedDifferencesAreShown(t *testing.T) {
	for _, w := range readKnown(t, knownFile).Wanted {
		if w.Of == "" || w.Consul == "" || w.Skerry == "" || w.Reason == "" {
			t.Errorf("%q does not say all", w.Of)
		}
		folder, name, _ := strings.Cut(w.Test, " ")
		found := false
		files, _ := filepath.Glob(filepath.Join("../..", folder, "*"))
		for _, file := range files {
			text, err := os.ReadFile(file)
			found = found || filepath.Base(file) == name || err == nil && bytes.Contains(text, []byte("func "+name+"(t *testing.T)"))
		}
		if !found {
			t.Errorf("%q is shown by %q, which is not there", w.Of, w.Test)
		}
	}
}

// The document says what the list says. Write it anew with
// go test ./test/conformance -run Document -update.
func TestDocumentSaysWhatTheListSays(t *testing.T) {
	want := render(readKnown(t, knownFile), readKnown(t, clusterFile).Differences, readKnown(t, agentFile).Differences)
	if *update {
		if err := os.WriteFile(document, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what %s says: run go test ./test/conformance -run Document -update", document, knownFile)
	}
}

func render(all differences, among, agent []difference) []byte {
	var b bytes.Buffer
	b.WriteString(`<!-- Generated from known-, cluster- and agent-differences.json in test/conformance: edit those, then
     go test ./test/conformance -run Document -update -->

# Where Skerry answers in another way than Consul

## On purpose

| what | Consul | Skerry | reason | shown by |
|---|---|---|---|---|
`)
	for _, w := range all.Wanted {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | `%s` |\n", w.Of, w.Consul, w.Skerry, w.Reason, w.Test)
	}
	b.WriteString(`
Limits of requests that Consul lacks: [security.md](security.md). Timings beside Consul's: [decided.md](decided.md).

## In the recordings

Skerry is held against recorded answers of Consul 1.22 (test/conformance/transcripts). These steps of the recordings
differ; a test fails on any other difference, and on one that is listed here and is none any more.

`)
	renderSteps(&b, all.Differences)
	b.WriteString(`
## At one of three servers

A server that follows, among three, answers the recordings as a single one does, but for these steps besides.

`)
	renderSteps(&b, among)
	b.WriteString(`
## At an agent

An agent of three servers answers the recordings, which are of a server, as that one does, but for these steps besides.

`)
	renderSteps(&b, agent)
	return b.Bytes()
}

func renderSteps(b *bytes.Buffer, known []difference) {
	// A row for each reason and scenario, in the order of the list.
	type row struct{ reason, scenario string }
	var order []row
	steps, requests := map[row][]string{}, map[row]string{}
	for _, d := range known {
		r := row{d.Reason, d.Scenario}
		if steps[r] == nil {
			order = append(order, r)
			requests[r] = d.Request
		}
		steps[r] = append(steps[r], strconv.Itoa(d.Step))
	}
	b.WriteString("| scenario | steps | the first of them | reason |\n|---|---|---|---|\n")
	for _, r := range order {
		fmt.Fprintf(b, "| %s | %s | `%s` | %s |\n", r.scenario, strings.Join(steps[r], ", "), strings.ReplaceAll(requests[r], "|", `\|`), r.reason)
	}
}
