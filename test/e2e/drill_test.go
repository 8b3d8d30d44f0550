package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/skerryhq/skerry/test/program"
	"github.com/skerryhq/skerry/tool/drill"
)

// Drills hold what is promised. Without SKERRY_DRILLS=all two of them are played: that in which everything is lost but one
// server, and that which no other test plays with programs at work.
func TestDrills(t *testing.T) {
	if testing.Short() {
		t.Skip("a drill takes half a minute")
	}
	t.Parallel()
	for _, d := range drill.All() {
		if os.Getenv("SKERRY_DRILLS") != "all" && !slices.Contains([]string{"lost-majority", "store-full"}, d.Name) {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			cmd := exec.Command(program.Skerry(t), "drill", "-slack=20", "-format=json", d.Name)
			cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			var r drill.Result
			if err != nil || json.Unmarshal(out, &r) != nil {
				t.Fatalf("%v\n%s%s", err, out, stderr.String())
			}
			for _, c := range r.Counts {
				if c.Calls == 0 {
					t.Errorf("there were no %s", c.Kind)
				}
			}
			t.Logf("%s", out)
			if left := processesOf(t, r.Folder); len(left) > 0 {
				t.Errorf("these live on: %q", left)
			}
		})
	}
}

// A drill that is interrupted leaves no process and no folder.
func TestADrillIsInterrupted(t *testing.T) {
	t.Parallel()
	temporary := t.TempDir()
	cmd, output := sample(t, []string{"TMPDIR=" + temporary}, program.Skerry(t), "drill", "leader-loss")
	says(t, output, "three servers and two agents run")
	if n := len(processesOf(t, temporary)); n != 5 {
		t.Fatalf("%d processes run", n)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	says(t, output, "interrupted")
	await(t, "the end", func() error {
		folders, err := os.ReadDir(temporary)
		if err == nil && len(folders) > 0 {
			err = fmt.Errorf("%s is left", folders[0].Name())
		}
		return err
	})
	if left := processesOf(t, temporary); len(left) > 0 {
		t.Errorf("these live on: %q", left)
	}
}

// processesOf are the command lines of processes that name a folder.
func processesOf(t *testing.T, folder string) (out []string) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(lines) == 0 {
		t.Skip("there is no /proc")
	}
	for _, file := range lines {
		if line, err := os.ReadFile(file); err == nil && bytes.Contains(line, []byte(folder)) {
			out = append(out, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return out
}
