package main

import (
	"bufio"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/skerryhq/skerry/config"

	"github.com/skerryhq/skerry/test/program"
)

var update = flag.Bool("update", false, "write the expected outputs in scripts anew")

func TestMain(m *testing.M) {
	program.TakeSignals()
	testscript.Main(m, map[string]func(){"skerry": main, "consul": main})
}

// TestScripts runs testdata/script. The command "agent" starts an agent in dev
// mode for the script, on a unix socket of its own, so that scripts run side by
// side; its arguments are configuration in HCL.
func TestScripts(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("the scripts need a shell")
	}
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("SKERRY_HTTP_ADDR", "unix://"+filepath.Join(env.WorkDir, "http.sock"))
			// The race detector waits a second at the end of every process otherwise.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"agent": startAgent},
	})
}

func startAgent(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: agent [HCL...]")
	}
	socket := ts.MkAbs("http.sock")
	src := config.Source{Dev: true, HCL: args, Flags: map[string]any{
		"addresses.http": "unix://" + socket, "ports.dns": -1, "node_name": "here", "bind_addr": "127.0.0.1",
	}}
	logFile, err := os.Create(ts.MkAbs("agent.log"))
	ts.Check(err)
	banner, stdout, err := os.Pipe()
	ts.Check(err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := runAgent(ctx, src, stdout, logFile)
		stdout.Close()
		ended <- err
	}()
	ts.Defer(func() {
		stop()
		err := <-ended
		banner.Close()
		logFile.Close()
		ts.Check(err)
	})
	// It prints where it listens once it does.
	lines := bufio.NewScanner(banner)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "HTTP") {
			return
		}
	}
	ts.Fatalf("the agent ended: %v", ts.ReadFile("agent.log"))
}
