package program

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// Killed runs this test binary again as the test helper, with one more variable of the
// environment, and kills it. The helper prints the number of each record once that is
// acknowledged. It is killed at a random moment within spread of the first, or after
// patience without any. Killed returns the greatest number, or -1.
func Killed(t testing.TB, helper, variable string, spread, patience time.Duration) (acknowledged int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run="+helper+"$")
	cmd.Env = append(os.Environ(), variable)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	acknowledged = -1
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			cmd.Process.Kill()
			t.Fatalf("the helper says %s", lines.Text())
		}
		acknowledged = max(acknowledged, n)
		if kill != nil && kill.Stop() {
			kill = nil
			time.AfterFunc(rand.N(spread), func() { cmd.Process.Kill() })
		}
	}
	return acknowledged
}
