package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The next holder of the lock starts when no process lives that the holder before has
// started: whatever signal ends that one, and whether its children listen or not.
func TestLockOutlivesNoChild(t *testing.T) {
	a := start(t, nil)
	const child = `sh -c 'echo $$ >> "$0"; exec sleep 65' `
	const deaf = `sh -c 'trap "" TERM INT HUP QUIT; echo $$ >> "$0"; while :; do sleep 0.05; done' `
	for name, line := range map[string]string{
		"a line of the shell": child + "%[1]s; true",
		"two, one nested":     child + "%[1]s & sh -c '" + strings.ReplaceAll(child, "'", `'\''`) + "%[1]s; true'; true",
		"deaf":                deaf + "%[1]s; true",
		"a daemon":            "setsid " + child + "%[1]s & wait",
		"one that is left":    "setsid " + child + "%[1]s & sleep 65",
	} {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
			t.Run(fmt.Sprint(name, "/", sig), func(t *testing.T) {
				t.Parallel()
				key, pids := "jobs/"+strings.ReplaceAll(t.Name(), " ", "-"), filepath.Join(t.TempDir(), "pids")
				first := a.tool(nil, "lock", "-kill-timeout", "1s", key, fmt.Sprintf(line, pids))
				want := 1 + strings.Count(name, "two")
				await(t, "the children", func() error {
					b, _ := os.ReadFile(pids)
					if n := bytes.Count(b, []byte("\n")); n < want {
						return fmt.Errorf("%d children have started", n)
					}
					return nil
				})
				out := filepath.Join(t.TempDir(), "out")
				next := a.tool(nil, "lock", "-child-exit-code", key,
					fmt.Sprintf(`while read p; do grep -q ') [^Z]' /proc/$p/stat 2>/dev/null && echo $p lives; done < %s > %s; true`, pids, out))
				if err := first.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				if err := next.Wait(); err != nil {
					t.Error(err)
				}
				if b, err := os.ReadFile(out); err != nil || len(b) > 0 {
					t.Errorf("beside the next holder %s, %v", b, err)
				}
				first.Wait()
			})
		}
	}
}
