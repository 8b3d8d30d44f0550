package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

// tool starts a command of ours against the agent; it ends with the test.
func (a *agent) tool(stderr io.Writer, args ...string) *exec.Cmd {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), program.Skerry(a.t), args...)
	cmd.Env = append(os.Environ(), "SKERRY_HTTP_ADDR="+a.http)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	return cmd
}

// Of many that want the lock one has it at a time, and all get it in the end.
func TestLockExcludes(t *testing.T) {
	a := start(t, nil)
	trace := filepath.Join(t.TempDir(), "trace")
	const contenders = 6
	var cmds []*exec.Cmd
	for i := range contenders {
		line := fmt.Sprintf("echo in %d >> %s; sleep 0.05; echo out %d >> %s", i, trace, i, trace)
		cmds = append(cmds, a.tool(nil, "lock", "-child-exit-code", "jobs/one", line))
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Errorf("a contender: %v", err)
		}
	}
	lines := traceOf(t, trace)
	if len(lines) != 2*contenders {
		t.Fatalf("%d lines, want %d: %q", len(lines), 2*contenders, lines)
	}
	for i := 0; i < len(lines); i += 2 {
		if in, out := strings.TrimPrefix(lines[i], "in "), strings.TrimPrefix(lines[i+1], "out "); in != out {
			t.Fatalf("two hold the lock at once: %q", lines)
		}
	}
}

// With three slots, three and no more are in at once.
func TestLockSlots(t *testing.T) {
	a := start(t, nil)
	trace := filepath.Join(t.TempDir(), "trace")
	const contenders, slots = 7, 3
	var cmds []*exec.Cmd
	for range contenders {
		line := fmt.Sprintf("echo in >> %s; sleep 0.3; echo out >> %s", trace, trace)
		cmds = append(cmds, a.tool(nil, "lock", "-n", fmt.Sprint(slots), "-child-exit-code", "jobs/few", line))
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Errorf("a contender: %v", err)
		}
	}
	in, most := 0, 0
	for _, line := range traceOf(t, trace) {
		if line == "in" {
			in++
		} else {
			in--
		}
		most = max(most, in)
	}
	if in != 0 || most != slots {
		t.Errorf("%d were in at once, want %d; %d never left", most, slots, in)
	}
}

func traceOf(t *testing.T, name string) []string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// Who holds a lock and hears no server any more ends its program, deaf or not.
func TestLockIsLostWithTheServers(t *testing.T) {
	a := start(t, nil)
	up := filepath.Join(t.TempDir(), "up")
	var stderr bytes.Buffer
	cmd := a.tool(&stderr, "lock", "-monitor-retry", "0", "jobs/one", "trap '' TERM; touch "+up+"; while :; do sleep 0.05; done")
	await(t, "the program", func() error { _, err := os.Stat(up); return err })
	a.kill()
	if err := cmd.Wait(); err == nil || !strings.Contains(stderr.String(), "the lock was lost") {
		t.Errorf("%v, %s; want a lost lock", err, &stderr)
	}
}

// While the agent is away, files and variables stay as they are; once it is back
// they follow again. At no time is a file without instances.
func TestToolsOutliveTheAgent(t *testing.T) {
	a := start(t, nil)
	a.register(`{"ID": "web-1", "Name": "web", "Address": "10.0.0.1", "Port": 80}`)
	a.ok("PUT", "/v1/kv/app/word", "one")
	dir := t.TempDir()
	source, dest, ran, all := filepath.Join(dir, "in"), filepath.Join(dir, "out"), filepath.Join(dir, "ran"), filepath.Join(dir, "all")
	if err := os.WriteFile(source, []byte(`{{ key "app/word" }}{{ range service "web" }} {{ .ID }}{{ end }}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var templateLog, execLog bytes.Buffer
	tools := []*exec.Cmd{
		a.tool(&templateLog, "template", "-template", source+":"+dest+":cat "+dest+" >> "+all, "-wait", "0s"),
		a.tool(&execLog, "exec", "-prefix", "app", "--", "sh", "-c", "echo $word >> "+ran+"; exec sleep 600"),
	}
	is := func(file, want string) func() error {
		return func() error {
			if data, err := os.ReadFile(file); err != nil || string(data) != want {
				return fmt.Errorf("%q, %v; want %q", data, err, want)
			}
			return nil
		}
	}
	await(t, "the first file", is(dest, "one web-1\n"))
	await(t, "the first run", is(ran, "one\n"))
	a.kill()
	a.run()
	a.ok("PUT", "/v1/kv/app/word", "two")
	await(t, "the file after the restart", is(dest, "two web-1\n"))
	await(t, "the run after the restart", is(ran, "one\ntwo\n"))
	for _, cmd := range tools {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	if err := tools[0].Wait(); err != nil {
		t.Errorf("template: %v\n%s", err, &templateLog)
	}
	if code := exitCodeOf(tools[1].Wait()); code != 143 {
		t.Errorf("exec: code %d, want that of its program\n%s", code, &execLog)
	}
	if lines := traceOf(t, all); slices.ContainsFunc(lines, func(l string) bool { return !strings.HasSuffix(l, " web-1") }) {
		t.Errorf("a file without the instance was rendered: %q", lines)
	}
}

// A program that falls silent stays in the file, although the registry has lost it;
// one that is withdrawn leaves it at once.
func TestTemplateGuard(t *testing.T) {
	a := start(t, nil)
	dir := t.TempDir()
	source, dest := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(source, []byte(`{{ range service "job" }}{{ .ID }} {{ end }}.`), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	holds := func(file, part string) func() error {
		return func() error {
			if data, err := os.ReadFile(file); err != nil || !strings.Contains(string(data), part) {
				return fmt.Errorf("%q, %v; want %q in it", data, err, part)
			}
			return nil
		}
	}
	owner := func(ttl string) {
		a.ok("PUT", "/v1/skerry/owner/job-1", `{"Address": "10.0.0.7", "TTL": "`+ttl+`", "Services": [{"Name": "job", "Port": 9000}]}`)
	}
	owner("1s")
	a.tool(log, "template", "-template", source+":"+dest, "-wait", "0s")
	await(t, "the first file", holds(dest, "job ."))
	await(t, "the hold", holds(log.Name(), "too short to be true"))
	if cause := a.ok("GET", "/v1/health/service/job", "").header.Get("X-Skerry-Empty-Cause"); cause != "expired" {
		t.Errorf("the list is empty because %q, want expired", cause)
	}
	if err := holds(dest, "job .")(); err != nil {
		t.Error(err)
	}
	owner("1h")
	await(t, "the return", holds(log.Name(), "rendered again"))
	a.ok("DELETE", "/v1/skerry/owner/job-1", "")
	await(t, "the withdrawal", func() error {
		if data, err := os.ReadFile(dest); string(data) != "." {
			return fmt.Errorf("%q, %v", data, err)
		}
		return nil
	})
}

func exitCodeOf(err error) int {
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode()
	}
	return 0
}

// What "tls" makes is enough for an agent that asks for certificates and for all
// that ask it.
func TestToolsOverTLS(t *testing.T) {
	dir := t.TempDir()
	ours := func(extra []string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program.Skerry(t), args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), extra...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, &stderr)
		}
		return string(out)
	}
	ours(nil, "tls", "ca", "create", "-name-constraint")
	ours(nil, "tls", "cert", "create", "-server")
	ours(nil, "tls", "cert", "create", "-cli")
	in := func(name string) string { return filepath.Join(dir, name) }
	https := program.Port(t)
	start(t, map[string]any{
		"ports": map[string]any{"https": https},
		"tls": map[string]any{"https": map[string]any{
			"cert_file": in("dc1-server-consul-0.pem"), "key_file": in("dc1-server-consul-0-key.pem"),
			"ca_file": in("consul-agent-ca.pem"), "verify_incoming": true,
		}},
	})
	env := []string{
		"SKERRY_HTTP_ADDR=https://" + local(https), "SKERRY_CACERT=" + in("consul-agent-ca.pem"),
		"SKERRY_CLIENT_CERT=" + in("dc1-cli-consul-0.pem"), "SKERRY_CLIENT_KEY=" + in("dc1-cli-consul-0-key.pem"),
		"CONSUL_HTTP_ADDR=127.0.0.1:1", // it must not count
		"CONSUL_HTTP_TOKEN=another",
	}
	ours(env, "kv", "put", "app/word", "ahoy")
	if got := ours(env, "exec", "-once", "-prefix", "app", "--", "sh", "-c", "echo $word"); got != "ahoy\n" {
		t.Errorf("exec: %q", got)
	}
	if got := ours(env, "lock", "app", "echo held"); got != "held\n" {
		t.Errorf("lock: %q", got)
	}
	if err := os.WriteFile(in("word.ctmpl"), []byte(`{{ key "app/word" }} {{ env "CONSUL_HTTP_TOKEN" }}`), 0o600); err != nil {
		t.Fatal(err)
	}
	ours(env, "template", "-once", "-template", "word.ctmpl:word")
	if got, err := os.ReadFile(in("word")); string(got) != "ahoy another" {
		t.Errorf("template: %q, %v", got, err)
	}
	// Whether the reason is heard before the connection ends is chance.
	await(t, "the refusal that names the certificate", func() error {
		cmd := exec.CommandContext(t.Context(), program.Skerry(t), "kv", "get", "app/word")
		cmd.Env = append(append(os.Environ(), env...), "SKERRY_CLIENT_CERT=", "SKERRY_CLIENT_KEY=")
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "asking the agent at https://") {
			t.Errorf("without a certificate: %v, %s", err, out)
			return nil
		}
		if !strings.Contains(string(out), "certificate") {
			return errors.New(string(out))
		}
		return nil
	})
}
