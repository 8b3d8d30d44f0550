package conformance

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

// replayed are all scenarios there are.
var replayed = []string{
	"acl-denied", "acl-tokens", "agent-checks", "agent-services", "blocking", "catalog-query", "catalog-register", "dns-basic", "dns-many",
	"dns-query", "errors", "event", "filters", "health", "kv-basic", "kv-cas", "kv-lock", "maintenance", "near-tags-meta", "query", "session", "status", "ttl", "txn", "txn-catalog",
}

// outcome is what replay.py --json says of one scenario.
type outcome struct {
	Scenario  string
	Steps     int
	Error     string
	Different []struct {
		Step        int
		Request     string
		Differences []struct{ Place, Want, Got string }
	}
}

// Every recorded answer is ours too, but for the listed differences; and what is
// listed does differ, so that the list stays true.
func TestTranscripts(t *testing.T) {
	program.Need(t, "python3", "dig")
	known := readKnown(t, knownFile).Differences
	judgeAll(t, replay(t, program.Skerry(t)), replayed, known)
	for _, d := range known {
		if !slices.Contains(replayed, d.Scenario) {
			t.Errorf("%s lists scenario %q, which is not replayed", knownFile, d.Scenario)
		}
	}
}

func judgeAll(t *testing.T, outcomes map[string]outcome, names []string, known []difference) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			o, ok := outcomes[name]
			if !ok {
				t.Fatal("the scenario was not replayed")
			}
			if o.Error != "" {
				t.Fatal(o.Error)
			}
			judge(t, o, known)
		})
	}
}

func judge(t *testing.T, o outcome, known []difference) {
	different := map[int]bool{}
	for _, step := range o.Different {
		different[step.Step] = true
		i := slices.IndexFunc(known, func(d difference) bool { return d.Scenario == o.Scenario && d.Step == step.Step })
		var places []string
		for _, d := range step.Differences {
			if i < 0 {
				t.Errorf("step %d, %s: %s\n  want %s\n  got  %s", step.Step, step.Request, d.Place, d.Want, d.Got)
			}
			if !slices.Contains(places, d.Place) {
				places = append(places, d.Place)
			}
		}
		if i < 0 {
			continue
		}
		for _, p := range places {
			if allowed := known[i].Places; !slices.Contains(allowed, p) {
				t.Errorf("step %d, %s differs in %s; the list allows %v", step.Step, step.Request, p, allowed)
			}
		}
	}
	for _, d := range known {
		if d.Scenario == o.Scenario && !different[d.Step] && !d.May {
			t.Errorf("step %d, %s, is equal now: remove it from the list of differences", d.Step, d.Request)
		}
	}
}

func replay(t *testing.T, bin string, more ...string) map[string]outcome {
	t.Helper()
	result := filepath.Join(t.TempDir(), "result.json")
	// Below the ports of the other tests; two runs at once are a few hundred apart.
	base := 1100 + os.Getpid()%3*800
	cmd := exec.Command("python3", "transcripts/replay.py", bin, "open", "acl", "--json", result, "--base", strconv.Itoa(base))
	cmd.Args = append(cmd.Args, more...)
	out, err := cmd.CombinedOutput()
	data, readErr := os.ReadFile(result)
	if readErr != nil {
		t.Fatalf("replay.py: %v\n%s", err, out)
	}
	var list []outcome
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]outcome{}
	for _, o := range list {
		outcomes[o.Scenario] = o
	}
	return outcomes
}

// A folder that holds no scenario would make every other test here pass.
func TestEveryScenarioIsReplayed(t *testing.T) {
	files, err := filepath.Glob("transcripts/*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".json"); !slices.Contains(replayed, name) {
			t.Errorf("scenario %s is not replayed", name)
		}
	}
	if want := len(replayed); len(files) != want {
		t.Errorf("%d scenarios on disk, want %d", len(files), want)
	}
}
