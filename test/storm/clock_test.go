//go:build linux

package storm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

// clockVariable names the file that has the offset of a server's clock, in seconds.
const clockVariable = "STORM_CLOCK"

// steppedClock makes the clock of package time one that can be stepped. Times that are
// measured, and timers, do not change with it, as with a real clock that is set.
const steppedClock = `package time

import "sync/atomic"

var stepped atomic.Int64

// Step sets the offset of the clock in seconds.
func Step(seconds int64) { stepped.Store(seconds) }
`

// reader is a part of cmd/skerry that reads the offset again and again.
const reader = `package main

import (
	"os"
	"strconv"
	"time"
)

func init() {
	read := func() {
		data, _ := os.ReadFile(os.Getenv("` + clockVariable + `"))
		if n, err := strconv.ParseInt(string(data), 10, 64); err == nil {
			time.Step(n)
		}
	}
	read()
	go func() {
		for range time.Tick(20 * time.Millisecond) {
			read()
		}
	}()
}
`

// steppable builds a binary whose clock can be stepped: the standard library's is replaced
// for this build. It returns the binary, and the file of each server's offset.
func steppable(t testing.TB) (binary string, file func(n int) string) {
	t.Helper()
	dir := t.TempDir()
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	lib := filepath.Join(strings.TrimSpace(string(goroot)), "src", "time")
	source, err := os.ReadFile(filepath.Join(lib, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const now = "\tsec, nsec, mono := runtimeNow()\n"
	changed := bytes.Replace(source, []byte("func Now() Time {\n"+now), []byte("func Now() Time {\n"+now+"\tsec += stepped.Load()\n"), 1)
	if bytes.Equal(changed, source) {
		t.Fatal("time.Now of this Go is another than this test knows")
	}
	replace := map[string]string{}
	write := func(name string, data []byte, in string) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		replace[in] = path
	}
	write("time.go", changed, filepath.Join(lib, "time.go"))
	write("stepped.go", []byte(steppedClock), filepath.Join(lib, "stepped.go"))
	write("clock.go", []byte(reader), filepath.Join(program.Root(), "cmd", "skerry", "storm_clock.go"))
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "skerry")
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, "./cmd/skerry")
	cmd.Dir = program.Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary, func(n int) string { return filepath.Join(dir, fmt.Sprint("offset-", n+1)) }
}

// step sets a server's clock by an offset, and back at its end.
func (s *storm) step(n int, by time.Duration) (end func()) {
	s.set(n, by)
	return func() { s.set(n, 0) }
}

// setBack gives all servers the time of the machine.
func (s *storm) setBack() {
	for n := range s.servers {
		if s.stepped != nil {
			s.set(n, 0)
		}
	}
}

// set sets a server's clock, and waits until the server has it.
func (s *storm) set(n int, offset time.Duration) {
	path, text := s.stepped(n), strconv.Itoa(int(offset/time.Second))
	if old, _ := os.ReadFile(path); string(old) == text || len(old) == 0 && offset == 0 {
		return
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
	err := program.Await(10*time.Second, func() error {
		ctx, cancel := context.WithTimeout(s.ctx, answerWithin)
		defer cancel()
		header, err := s.servers[n].exchange(ctx, "GET", "/v1/status/leader", nil, nil)
		if err != nil {
			return err
		}
		date, err := http.ParseTime(header.Get("Date"))
		if off := date.Sub(time.Now().Add(offset)); err == nil && off.Abs() > 2*time.Second {
			err = fmt.Errorf("its clock is off by %v", off)
		}
		return err
	})
	s.tell("the clock of s%d is stepped by %v (%v)", n+1, offset, err)
}
