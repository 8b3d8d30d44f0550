//go:build linux

package child

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// alive reports whether a process runs; one that has ended and that its parent has not
// waited for does not.
func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// startOne runs a script that has the number of a process that it starts written to
// the file $OUT, and returns that.
func startOne(t *testing.T, s Spec, script string) (*Process, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "started")
	s.Command, s.Env = Shell(script), append(os.Environ(), "OUT="+file)
	p, err := Start(s)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for end := time.Now().Add(20 * time.Second); !strings.HasSuffix(string(b), "\n"); time.Sleep(time.Millisecond) {
		if b, _ = os.ReadFile(file); time.Now().After(end) {
			p.Stop(syscall.SIGKILL, 0)
			t.Fatal("nothing is started")
		}
	}
	pid := strings.TrimSpace(string(b))
	t.Cleanup(func() {
		p.Stop(syscall.SIGKILL, 0)
		var n int
		if _, err := fmt.Sscan(pid, &n); err == nil && n > 1 {
			syscall.Kill(n, syscall.SIGKILL)
		}
	})
	return p, pid
}

// The program is over when no process lives that it has started, whatever the signal
// was, however deep they are nested, and whether they listen or not.
func TestOverWhenNobodyLives(t *testing.T) {
	const (
		simple  = `sh -c 'echo $$ > "$OUT"; exec sleep 600'`
		deaf    = `sh -c 'trap "" TERM INT QUIT HUP; echo $$ > "$OUT"; while :; do sleep 0.01; done'`
		started = `until [ -s "$OUT" ]; do sleep 0.01; done; `
	)
	scripts := map[string]string{
		"the shell's child":          simple + "; true",
		"in the background":          simple + " & wait",
		"nested":                     "sh -c '" + strings.ReplaceAll(simple, "'", `'\''`) + "; true'; true",
		"deaf":                       deaf + "; true",
		"in a session of its own":    "setsid " + simple + " & wait",
		"deaf, in one of its own":    "setsid " + deaf + " & wait",
		"a daemon":                   "(setsid " + simple + " >/dev/null 2>&1 &); sleep 600",
		"left by who ends by itself": deaf + " & " + started + "exit 0",
		"a daemon that is left":      "setsid " + simple + " & " + started + "exit 0",
	}
	for name, script := range scripts {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGKILL} {
			if strings.Contains(name, "deaf") && sig != syscall.SIGTERM && sig != syscall.SIGHUP {
				continue
			}
			t.Run(fmt.Sprint(name, "/", sig), func(t *testing.T) {
				t.Parallel()
				p, pid := startOne(t, Spec{KillAfter: 200 * time.Millisecond}, script)
				if err := p.Pass(sig); err != nil {
					t.Fatal(err)
				}
				if sig == syscall.SIGHUP || sig == syscall.SIGUSR1 || sig == syscall.SIGKILL {
					<-p.Ended() // they end the program alone, which a shell may not do before its child
				}
				if _, err := p.Wait(); err != nil {
					t.Error(err)
				}
				if alive(pid) {
					t.Errorf("%s lives when the program is over", pid)
				}
			})
		}
	}
}

// What becomes of what a program leaves that ends by itself.
func TestRest(t *testing.T) {
	const (
		child  = `sh -c 'echo $$ > "$OUT"; exec sleep 600'`
		plain  = child + ` & until [ -s "$OUT" ]; do sleep 0.01; done; exit 3`
		daemon = "setsid " + plain
	)
	for _, tt := range []struct {
		name, script string
		rest         Rest
		lives        bool
	}{
		{"all ends", plain, EndRest, false}, {"the daemon too", daemon, EndRest, false},
		{"the group ends", plain, EndGroup, false}, {"a daemon goes on", daemon, EndGroup, true},
		{"all goes on", plain, LeaveRest, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, pid := startOne(t, Spec{Rest: tt.rest, Stdout: io.Discard, KillAfter: time.Minute}, tt.script)
			if code, err := p.Wait(); code != 3 || err != nil {
				t.Errorf("%d, %v", code, err)
			}
			if alive(pid) != tt.lives {
				t.Errorf("lives: %v, want %v", !tt.lives, tt.lives)
			}
		})
	}
}

// A reload signal asks for no end, whatever it is.
func TestSignalAloneEndsNothing(t *testing.T) {
	p, lines := run(t, `trap 'echo again' INT TERM; echo up; while :; do sleep 0.01; done`)
	lines.Scan()
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if err := p.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if lines.Scan(); lines.Text() != "again" {
			t.Fatalf("%q, want what the trap prints", lines.Text())
		}
	}
}
