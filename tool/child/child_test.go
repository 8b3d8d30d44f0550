//go:build unix

package child

import (
	"bufio"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
)

// run starts a shell script and returns the lines that it prints. The pipe ends
// when all that the script started has ended.
func run(t *testing.T, script string) (*Process, *bufio.Scanner) {
	t.Helper()
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Spec{Command: Shell(script), Env: append(os.Environ(), "WORD=ahoy"), Stdout: w, Stderr: os.Stderr})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = p.Stop(syscall.SIGKILL, 0)
		out.Close()
	})
	return p, bufio.NewScanner(out)
}

func TestExitCodes(t *testing.T) {
	for script, want := range map[string]int{"true": 0, "exit 3": 3, "kill -KILL $$": 137, `test "$WORD" = ahoy`: 0} {
		p, _ := run(t, script)
		if code, err := p.Wait(); code != want || err != nil {
			t.Errorf("%s: %d, %v; want %d", script, code, err, want)
		}
		if err := p.Signal(syscall.SIGHUP); err != nil {
			t.Errorf("%s: a signal after the end: %v", script, err)
		}
		if code, err := p.Stop(syscall.SIGTERM, time.Hour); code != want || err != nil {
			t.Errorf("%s: stopped after the end: %d, %v", script, code, err)
		}
	}
	if _, err := Start(Spec{Command: []string{"./not-there"}}); err == nil || !strings.Contains(err.Error(), "not-there") {
		t.Errorf("%v, want one that names the program", err)
	}
}

// Stop reaches what the program started, also when the program does not listen.
func TestStopReachesAll(t *testing.T) {
	tests := []struct {
		name, script string
		grace        time.Duration
		want         int
	}{
		{"who ends by itself", `trap 'exit 5' TERM; sh -c 'echo up; exec sleep 600' & wait`, time.Hour, 5},
		{"who is deaf", `trap '' TERM; sh -c 'echo up; exec sleep 600'; exit 0`, 0, 137},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, lines := run(t, tt.script)
			if !lines.Scan() {
				t.Fatal("nothing printed")
			}
			if code, err := p.Stop(syscall.SIGTERM, tt.grace); code != tt.want || err != nil {
				t.Errorf("%d, %v; want %d", code, err, tt.want)
			}
			if lines.Scan() || lines.Err() != nil {
				t.Errorf("%q, %v; want the end", lines.Text(), lines.Err())
			}
		})
	}
}

func TestSignal(t *testing.T) {
	p, lines := run(t, `trap 'echo again' HUP; trap 'exit 4' INT; echo up; while :; do sleep 0.01; done`)
	lines.Scan()
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if lines.Scan(); lines.Text() != "again" {
		t.Fatalf("%q, want what the trap prints", lines.Text())
	}
	if err := p.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code, _ := p.Wait(); code != 4 {
		t.Errorf("code %d, want 4", code)
	}
}

func TestLine(t *testing.T) {
	for line, want := range map[string]string{
		"nginx -g daemon": "nginx|-g|daemon", " a  b ": "a|b", "a 'b c'": "/bin/sh|-c|a 'b c'", "a && b": "/bin/sh|-c|a && b", "X=1 a": "/bin/sh|-c|X=1 a",
	} {
		if got := strings.Join(Line(line), "|"); got != want {
			t.Errorf("%q: %s, want %s", line, got, want)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for name, want := range map[string]os.Signal{"SIGHUP": syscall.SIGHUP, "hup": syscall.SIGHUP, "Term": syscall.SIGTERM} {
		if got, err := ParseSignal(name); got != want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "SIG", "1", "nope"} {
		if got, err := ParseSignal(name); skerry.KindOf(err) != skerry.Invalid {
			t.Errorf("%q: %v, %v; want an invalid name", name, got, err)
		}
	}
}
