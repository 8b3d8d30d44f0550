//go:build linux

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

const unitFolder = "../../deploy/systemd"

// The units are valid, and let their processes do little.
func TestUnits(t *testing.T) {
	program.Need(t, "systemd-analyze")
	root := t.TempDir()
	units := filepath.Join(root, "usr/lib/systemd/system")
	place := func(to string, data []byte, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"usr/bin/skerry", "bin/kill"} {
		place(filepath.Join(root, p), []byte("#!/bin/sh\n"), 0o755)
	}
	for _, target := range []string{"sysinit", "basic", "shutdown", "network-online", "multi-user"} {
		place(filepath.Join(units, target+".target"), []byte("[Unit]\nDescription=one of the host\n"), 0o644)
	}
	names := []string{"skerry-server.service", "skerry-agent.service"}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(unitFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		place(filepath.Join(units, name), data, 0o644)
	}
	verify := exec.Command("systemd-analyze", append([]string{"verify", "--man=no", "--root=" + root}, names...)...)
	if out, err := verify.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v %s", err, out)
	}
	for _, name := range names {
		// 20 is 2.0 of 10, where 10 is a process of root without any limit.
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", filepath.Join(unitFolder, name)).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// The units differ by their roles alone, and their command lines are ones that this version understands.
func TestUnitsAreAlike(t *testing.T) {
	server, err := os.ReadFile(filepath.Join(unitFolder, "skerry-server.service"))
	if err != nil {
		t.Fatal(err)
	}
	agent, err := os.ReadFile(filepath.Join(unitFolder, "skerry-agent.service"))
	if err != nil {
		t.Fatal(err)
	}
	same := func(text string) string {
		text = regexp.MustCompile(`(?m)^#.*\n|^(Description|Conflicts)=.*\n`).ReplaceAllString(text, "")
		return strings.ReplaceAll(text, "agent -server ", "agent ")
	}
	if same(string(server)) != same(string(agent)) {
		t.Error("the units of the server and the agent differ in more than their role")
	}
	for _, text := range []string{string(server), string(agent)} {
		line := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/skerry (.*) \$SKERRY_OPTIONS$`).FindStringSubmatch(text)
		if line == nil {
			t.Fatal("there is no command line")
		}
		data := t.TempDir()
		args := strings.Fields(strings.NewReplacer("/etc/skerry/conf.d", t.TempDir(), "/var/lib/skerry", data).Replace(line[1]))
		// The flags are understood when the process gets so far that it finds the port taken.
		args = append(args, "-http-port=70000")
		out, err := exec.Command(program.Build(t, "../..", "./cmd/skerry"), args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "ports.http") {
			t.Errorf("%q: %v %s", args, err, out)
		}
	}
}
