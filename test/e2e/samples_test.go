package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

// sample runs a sample against the agent until the test ends or signals it.
func (a *agent) sample(name string, env []string, args ...string) (cmd *exec.Cmd, output func() string) {
	a.t.Helper()
	cmd = exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+a.http)
	cmd.Env = append(cmd.Env, env...)
	log, err := os.Create(filepath.Join(a.t.TempDir(), "log"))
	if err != nil {
		a.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	launch(a.t, cmd)
	a.t.Cleanup(func() { log.Close() })
	return cmd, func() string {
		data, _ := os.ReadFile(log.Name())
		return string(data)
	}
}

func TestTimeService(t *testing.T) {
	a := start(t, nil)
	server := program.Build(t, ".", "./examples/timeservice/server")
	client := program.Build(t, ".", "./examples/timeservice/client")
	port := program.Port(t)
	cmd, output := a.sample(server, nil, "-listen", local(port))

	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	ask := exec.CommandContext(ctx, client, "-zone", "Europe/Oslo", "-wait", patience.String())
	ask.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+a.http)
	out, err := ask.CombinedOutput()
	if err != nil {
		t.Fatalf("the client: %v\n%s\n%s", err, out, output())
	}
	want := fmt.Sprintf(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0[12]:00 \(time-%d at %s\)\n$`, port, local(port))
	if !regexp.MustCompile(want).Match(out) {
		t.Errorf("the client printed %q, want what matches %s", out, want)
	}
	check := a.ok("GET", "/v1/agent/checks", "").body
	for _, want := range []string{`"Type":"tcp"`, `"ServiceTags":["master"]`} {
		if !strings.Contains(check, want) {
			t.Errorf("the check lacks %s: %s", want, check)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	a.awaitInstances("time")
	if got := a.ok("GET", "/v1/health/service/time", "").header.Get("X-Skerry-Empty-Cause"); got != "deregistered" {
		t.Errorf("the list is empty because %q, want deregistered", got)
	}
}

func TestFileServer(t *testing.T) {
	program.Need(t, "curl", "sh", "go")
	a := start(t, nil)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "hello.txt"), []byte("ahoy"), 0o600); err != nil {
		t.Fatal(err)
	}
	port := program.Port(t)
	script := filepath.Join(program.Root(), "examples/fileserver/fileserver.sh")
	cmd, output := a.sample("sh", []string{fmt.Sprint("PORT=", port), "DIR=" + dir}, script)
	id := fmt.Sprint("files-", port)
	await(t, "the file server", func() error {
		if got := a.instances("files"); fmt.Sprint(got) != "["+id+" passing]" {
			return fmt.Errorf("got %v\n%s", got, output())
		}
		return nil
	})
	if got := request(t, http.DefaultClient, "GET", "http://"+local(port)+"/hello.txt", ""); got.body != "ahoy" {
		t.Errorf("the file server served %q", got.body)
	}
	if check := a.ok("GET", "/v1/agent/checks", "").body; !strings.Contains(check, `"Type":"http"`) {
		t.Errorf("not an HTTP check: %s", check)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	a.awaitInstances("files")
}
