package docs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerryhq/skerry/config"
	"github.com/skerryhq/skerry/propagation"
	"github.com/skerryhq/skerry/test/program"
)

// serveAt makes this binary the example's server: it listens on the port and answers.
const serveAt = "SKERRY_EXAMPLE_SERVER"

func TestMain(m *testing.M) {
	if port := os.Getenv(serveAt); port != "" {
		http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		os.Exit(1)
	}
	program.Main(m)
}

const root = "../.."

// documents are those whose every example is run.
var documents = []string{
	"README.md", "SECURITY.md", "CONTRIBUTING.md", "doc/access.md", "doc/cluster.md", "doc/datacenters.md", "doc/decided.md", "doc/own-api.md", "doc/sdk.md", "doc/security.md", "doc/tools.md", "doc/upgrade.md", "tongue/dns/README.md",
}

// examples says how each example is run, by its first line. An example that is not here
// fails the test, and so does a row without an example.
var examples = map[string]func(*testing.T, block){
	"README.md: make run     # builds, runs a server and an agent with two sample services, finds them at both by HTTP and DNS, and stays": targets,
	"README.md: go build -o skerry ./cmd/skerry": firstSteps,
	"README.md: skerry token create -server -uses 3 -data-dir /var/lib/skerry > join-token     # on the first machine, before anything runs": func(t *testing.T, b block) { joins(t, b) },
	"README.md: ./skerry run -name web -port 8080 -check-http /health -- ./server":                                                           runServer,
	"README.md: acl { enabled = true  preset = \"strict\" }     # or read-open: everybody finds services, nobody writes without a token":     configuration,
	"README.md: consul kv export -http-addr=http://old:8500 | skerry kv import -":                                                            movingIn,
	"README.md: import (":                             sdkOverview,
	"CONTRIBUTING.md: make build        # bin/skerry": targets,
	"doc/access.md: acl {":                            configuration,
	"doc/access.md: datacenter         = \"dc2\"":     configuration,
	"doc/access.md: skerry acl policy create -name web -rules 'service \"web\" { policy = \"write\" } node_prefix \"\" { policy = \"read\" } service_prefix \"\" { policy = \"read\" }'": controlled,
	"doc/cluster.md: skerry members":                                                                                                           whole,
	"doc/cluster.md: skerry token create -server -uses 1 > join-token":                                                                         replaces,
	"doc/cluster.md: skerry validate -quiet /etc/skerry/conf.d              # with the new binary":                                             upgrades,
	"doc/cluster.md: skerry operator quorum recover -data-dir /var/lib/skerry":                                                                 func(*testing.T, block) {}, // by replaces
	"doc/datacenters.md: server           = true":                                                                                              configuration,
	"doc/decided.md: quorum {":                                                                                                                 configuration,
	"doc/decided.md: skerry snapshot save backup.snap        # verified after it was written":                                                  commands,
	"doc/decided.md: skerry snapshot agent -local-path /var/backups/skerry -interval 1h -retain 30":                                            backsUp,
	"doc/own-api.md: {\"Services\": [{\"Name\": \"web\", \"Port\": 8080, \"Check\": {\"TTL\": \"15s\"}}]}   →  {\"Changed\": true}":            wholeSet,
	"doc/own-api.md: {\"Address\": \"10.0.0.7\", \"TTL\": \"15s\", \"Node\": \"batch-7\", \"NodeMeta\": {…}, \"Locality\": {\"Zone\": \"a\"},": owner,
	"doc/own-api.md: PUT /v1/skerry/owner/ID/beat?digest=5f0c…                                →  {\"Answer\": \"ok\"}":                         func(*testing.T, block) {}, // by owner
	"doc/own-api.md: {\"Held\": 5, \"Services\": [{\"Service\": \"web\", \"Held\": 5, \"Instances\": 8}]}":                                     guard,
	"doc/own-api.md: {\"Servers\": [{\"Server\": \"s2\", \"P50\": 0.9, \"P99\": 3.1, \"Changes\": 64, \"Waiting\": 0}], \"Agents\": {\"P50\": 3.4, \"P99\": 8.3, \"Changes\": 180, \"Late\": []},": propagates,
	"doc/own-api.md: {\"Acked\": 415, \"Pending\": 0, \"Gone\": 2, \"Safe\": true}":                                                                                                                drained,
	"doc/own-api.md: PUT /v1/skerry/join-token  {\"Kind\": \"agent\", \"Uses\": 50, \"TTL\": \"24h\"}   →  {\"ID\": \"7397…\", \"Kind\": \"agent\", \"Uses\": 50, …, \"Secret\": \"skj1.…\"}":      admission,
	"doc/own-api.md: curl -N 'http://127.0.0.1:8500/v1/skerry/follow?service=web'":                                                                                                                 followed,
	"doc/sdk.md: the instance has drained: all readers of its service have the list without it  acked=415 pending=0 gone=3 took=112ms":                                                             logged,
	"doc/tools.md: skerry run -name web -port 8080 -check-http /health -drain 30s -- ./server":                                                                                                     drains,
	"doc/tools.md: skerry lock service/backup ./backup.sh":                                                                                                                                         commands,
	"doc/tools.md: skerry drill leader-loss":                                                                       drilled,
	"doc/tools.md: skerry exec -prefix global/config -prefix app/config -upcase -sanitize -- ./server":             execServer,
	"doc/tools.md: skerry template -template haproxy.ctmpl:/etc/haproxy/haproxy.cfg:'systemctl reload haproxy' \\": template,
}

func TestExamples(t *testing.T) {
	seen := map[string]bool{}
	for _, file := range documents {
		for _, b := range blocks(t, root, file) {
			run := examples[b.name()]
			if run == nil && isGo(b) {
				run = compiles
			}
			if run == nil && drawing(b) {
				continue
			}
			if run == nil {
				t.Errorf("no row runs this example: %q", b.name())
				continue
			}
			seen[b.name()] = true
			t.Run(b.name()[:min(len(b.name()), 60)], func(t *testing.T) { run(t, b) })
		}
	}
	for name := range examples {
		if !seen[name] {
			t.Errorf("no document has the example %q", name)
		}
	}
}

// drawing reports whether a block is a picture or an answer of a command, which other
// tests compare.
func drawing(b block) bool {
	return strings.ContainsAny(b.text, "│▶") || strings.HasPrefix(b.text, "$ dig")
}

// targets checks that the Makefile has the targets.
func targets(t *testing.T, b block) {
	makefile, err := os.ReadFile(root + "/Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^make ([a-z-]+)`).FindAllStringSubmatch(b.text, -1) {
		if !bytes.Contains(makefile, []byte("\n"+m[1]+":")) {
			t.Errorf("make %s: no such target", m[1])
		}
	}
}

// configuration loads HCL.
func configuration(t *testing.T, b block) {
	c, _, err := config.Load(config.Source{Dev: true, HCL: []string{b.text}})
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		t.Error(err)
	}
}

// world is an agent and the folder in which the examples run.
type world struct {
	*testing.T
	dir       string
	http, dns string
	token     string
	agent     *exec.Cmd
}

const management = "11111111-2222-3333-4444-555555555555"

func newWorld(t *testing.T, hcl ...string) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), http: fmt.Sprintf("127.0.0.1:%d", program.Port(t)), dns: fmt.Sprintf("127.0.0.1:%d", program.Port(t))}
	args := []string{"-dev"}
	for _, h := range hcl {
		args = append(args, "-hcl", h)
	}
	w.start(args...)
	return w
}

// start starts the agent, and waits until its store has a leader.
func (w *world) start(args ...string) {
	w.Helper()
	w.launch(args...)
	w.await(func() bool { return w.get("/v1/status/leader") == http.StatusOK })
}

// launch starts the agent.
func (w *world) launch(args ...string) {
	t := w.T
	t.Helper()
	args = append([]string{"agent", "-log-level", "warn", "-http-port", portOf(w.http), "-dns-port", portOf(w.dns)}, args...)
	cmd := exec.CommandContext(t.Context(), program.Skerry(t), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.agent = cmd
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
}

// kill ends the agent without a warning.
func (w *world) kill() {
	w.agent.Process.Kill()
	w.agent.Wait()
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// await waits until ready; the agent and its store start in a moment.
func (w *world) await(ready func() bool) {
	w.Helper()
	for end := time.Now().Add(time.Minute); !ready(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatal("it does not come")
		}
	}
}

func (w *world) get(path string) int {
	resp, err := http.Get("http://" + w.http + path)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// command returns a shell that runs a line of an example: the agent of the test stands for
// the one on the usual ports, and skerry is the present binary.
func (w *world) command(line string, with ...string) *exec.Cmd {
	bin := program.Skerry(w)
	line = strings.NewReplacer(append(with,
		"localhost:8500", w.http, "http://old:8500", "http://"+w.http, "-p 8600", "-p "+portOf(w.dns))...).Replace(line)
	line = regexp.MustCompile(`(^|[|&] *|exec )(\./)?(skerry|consul) `).ReplaceAllString(line, "${1}"+bin+" ")
	cmd := exec.CommandContext(w.Context(), "sh", "-c", line)
	cmd.Dir = w.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env = append(os.Environ(), "CONSUL_HTTP_ADDR="+w.http, "CONSUL_HTTP_TOKEN="+w.token)
	return cmd
}

// file writes a file that an example names.
func (w *world) file(name, text string) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o755); err != nil {
		w.Fatal(err)
	}
}

// do runs a line and returns what it prints.
func (w *world) do(line string, with ...string) string {
	w.Helper()
	out, err := w.command(line, with...).CombinedOutput()
	if err != nil {
		w.Errorf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

func lines(text string) []string {
	return slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
}

// firstSteps runs the first commands of README against an agent that runs already.
func firstSteps(t *testing.T, b block) {
	program.Need(t, "curl", "dig")
	w := newWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	web := listener.Addr().String()
	for _, line := range lines(b.text) {
		if strings.HasPrefix(line, "go build") || strings.HasSuffix(line, "&") {
			continue // the test has built it and runs it
		}
		out := w.do(line, "localhost:8080", web, "8080", portOf(web))
		switch {
		case strings.Contains(line, "register"):
			w.await(func() bool {
				return strings.Contains(w.do("curl -s 'localhost:8500/v1/health/service/web?passing'"), "web")
			})
		case strings.Contains(line, "health/service"), strings.Contains(line, "dig"), strings.Contains(line, "explain"):
			if !strings.Contains(out, portOf(web)) && !strings.Contains(out, "web") {
				t.Errorf("%s prints %s", line, out)
			}
		case strings.Contains(line, "kv put") && !strings.Contains(out, "blue"), strings.Contains(line, "lock") && !strings.Contains(out, "only one"):
			t.Errorf("%s prints %s", line, out)
		}
	}
}

// server puts a program ./server into the folder that listens on the port.
func (w *world) server(port int) {
	w.Helper()
	self, err := os.Executable()
	if err != nil {
		w.Fatal(err)
	}
	w.file("server", fmt.Sprintf("#!/bin/sh\nenv | grep -q . && env > env.txt\n%s=%d exec %s\n", serveAt, port, self))
}

// background starts a line and ends it with the test.
func (w *world) background(line string, with ...string) {
	w.Helper()
	cmd := w.command("exec "+line, with...)
	cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(program.Skerry(w))+":"+os.Getenv("PATH"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if w.Failed() {
			w.Logf("%s\n%s", line, out.String())
		}
	})
}

func runServer(t *testing.T, b block) {
	program.Need(t, "curl")
	w := newWorld(t)
	port := program.Port(t)
	w.server(port)
	w.background(b.text, "8080", fmt.Sprint(port))
	w.await(func() bool {
		return strings.Contains(w.do("curl -s 'localhost:8500/v1/health/service/web?passing'"), `"web"`)
	})
}

// drains runs a server that drains at its end, and drains another instance by the command line.
func drains(t *testing.T, b block) {
	program.Need(t, "curl")
	w := newWorld(t)
	port := program.Port(t)
	w.server(port)
	all := lines(b.text)
	w.background(all[0], "8080", fmt.Sprint(port))
	w.await(func() bool {
		return strings.Contains(w.do("curl -s 'localhost:8500/v1/health/service/web?passing'"), `"web"`)
	})
	w.do(`curl -s -X PUT localhost:8500/v1/agent/service/register -d '{"ID":"web-1","Name":"web"}'`)
	drain, _, _ := strings.Cut(all[1], " && ")
	w.do(drain)
	if left := w.do("curl -s localhost:8500/v1/agent/services"); strings.Contains(left, "web-1") {
		t.Errorf("the instance is there still: %s", left)
	}
}

// logged compares the words of a line of the SDK's log with its source: the tests of the SDK compare the line itself.
func logged(t *testing.T, b block) {
	source, err := os.ReadFile(root + "/client/register.go")
	if err != nil {
		t.Fatal(err)
	}
	words, _, _ := strings.Cut(strings.TrimSpace(b.text), "  ")
	if !bytes.Contains(source, []byte(strconv.Quote(words))) {
		t.Errorf("the SDK does not log %q", words)
	}
}

// drilled plays the drill, on a host that may be busy.
func drilled(t *testing.T, b block) {
	w := &world{T: t, dir: t.TempDir()}
	all := lines(b.text)
	if out := w.do(all[0] + " -slack 20"); !strings.Contains(out, "All promises held.") {
		t.Errorf("%s", out)
	}
	if out := w.do(all[1] + " "); !strings.Contains(out, "leader-loss") {
		t.Errorf("%s", out)
	}
}

// backsUp runs a snapshot agent until it has saved.
func backsUp(t *testing.T, b block) {
	w := newWorld(t)
	w.background(b.text, "/var/backups/skerry", w.dir)
	w.await(func() bool {
		saved, _ := filepath.Glob(filepath.Join(w.dir, "skerry-*.snap"))
		return len(saved) == 1
	})
}

// commands runs each line against an agent with programs that end at once.
func commands(t *testing.T, b block) {
	w := newWorld(t)
	w.file("backup.sh", "#!/bin/sh\nexit 0\n")
	w.file("worker", "#!/bin/sh\nexit 0\n")
	for _, line := range lines(b.text) {
		w.do(line)
	}
}

// strict returns an agent with access control and a management token.
func strict(t *testing.T) *world {
	w := newWorld(t, `acl { enabled = true preset = "strict" tokens { initial_management = "`+management+`" } }`)
	w.token = management
	w.await(func() bool { _, err := w.command("skerry acl token list").CombinedOutput(); return err == nil })
	return w
}

func controlled(t *testing.T, b block) {
	w := strict(t)
	for _, line := range lines(b.text) {
		w.do(line)
	}
}

func movingIn(t *testing.T, b block) {
	w := strict(t)
	w.file("web.hcl", `service "web" { policy = "write" }`)
	w.do("skerry kv put a/b c")
	for _, line := range lines(b.text) {
		w.do(line, "ID", "aaaaaaaa-2222-3333-4444-555555555555", "SECRET", "bbbbbbbb-2222-3333-4444-555555555555")
	}
}

// put sends the body of an example and compares the answer's fields with those behind →.
func (w *world) put(path, example string) map[string]any {
	w.Helper()
	body, want, _ := strings.Cut(strings.ReplaceAll(example, "{…}", "{}"), "→")
	req, err := http.NewRequest(http.MethodPut, "http://"+w.http+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	data, _ := io.ReadAll(resp.Body)
	var got, expected map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		w.Fatalf("%s %s", resp.Status, data)
	}
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		w.Fatal(err)
	}
	for key, value := range expected {
		if value != got[key] && !strings.HasSuffix(fmt.Sprint(value), "…") {
			w.Errorf("%s is %v, the document has %v", key, got[key], value)
		}
	}
	return got
}

func wholeSet(t *testing.T, b block) { newWorld(t).put("/v1/skerry/set", b.text) }

func owner(t *testing.T, b block) {
	w := newWorld(t)
	digest := w.put("/v1/skerry/owner/ID", b.text)["Digest"]
	w.put(fmt.Sprintf("/v1/skerry/owner/ID/beat?digest=%v", digest), `→ {"Answer": "ok"}`)
}

// guard lets five of eight owners of a service fall silent at once.
func guard(t *testing.T, b block) {
	w := newWorld(t)
	for i := range 8 {
		ttl := "10m"
		if i >= 3 {
			ttl = "3s"
		}
		w.put(fmt.Sprint("/v1/skerry/owner/web-", i), fmt.Sprintf(`{"Address": "10.0.0.%d", "TTL": %q, "Services": [{"Name": "web", "Port": 80}]} → {"Changed": true}`, i, ttl))
	}
	w.await(func() bool {
		resp, err := http.Get("http://" + w.http + "/v1/skerry/guard")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var got, want any
		return json.NewDecoder(resp.Body).Decode(&got) == nil && json.Unmarshal([]byte(b.text), &want) == nil && reflect.DeepEqual(got, want)
	})
}

// propagates compares the fields with those of the answer.
func propagates(t *testing.T, b block) {
	d := json.NewDecoder(strings.NewReader(strings.ReplaceAll(b.text, "…", "")))
	d.DisallowUnknownFields()
	var r propagation.Report
	if err := d.Decode(&r); err != nil || len(r.Servers) != 1 || r.Agents.Changes == 0 || len(r.Services) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// drained drains an instance of a service that was looked up.
func drained(t *testing.T, b block) {
	program.Need(t, "curl")
	w := newWorld(t)
	w.do(`curl -s -X PUT localhost:8500/v1/agent/service/register -d '{"Name":"web","Port":8000}'`)
	w.do("curl -s localhost:8500/v1/health/service/web")
	got := w.do("curl -s -X PUT 'localhost:8500/v1/agent/service/deregister/web?drain=30s'")
	if digits := regexp.MustCompile(`\d+|\s`); digits.ReplaceAllString(got, "") != digits.ReplaceAllString(b.text, "") {
		t.Errorf("%s", got)
	}
}

// joins runs the commands by which servers and agents join, for one server.
func joins(t *testing.T, b block) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), http: fmt.Sprintf("127.0.0.1:%d", program.Port(t)), dns: fmt.Sprintf("127.0.0.1:%d", program.Port(t))}
	data, all := filepath.Join(w.dir, "data"), lines(b.text)
	w.do(all[0], "/var/lib/skerry", data)
	if !strings.Contains(all[1], "skerry agent -server … -join-token-file join-token ") {
		t.Fatalf("the second line is %q", all[1])
	}
	w.start("-server", "-data-dir", data, "-node", "s1", "-bind", "127.0.0.1", "-server-port", fmt.Sprint(program.Port(t)), "-join-token-file", filepath.Join(w.dir, "join-token"))
	w.await(func() bool { return w.command("skerry token list").Run() == nil })
	w.do(all[2])
	if secret, err := os.ReadFile(filepath.Join(w.dir, "agent-token")); err != nil || !bytes.HasPrefix(secret, []byte("skj1.")) {
		t.Errorf("%s, %v", secret, err)
	}
	return w
}

// admission makes the documented requests about join tokens.
func admission(t *testing.T, b block) {
	program.Need(t, "curl")
	var first block
	for _, one := range blocks(t, root, "README.md") {
		if strings.HasPrefix(one.text, "skerry token create") {
			first = one
		}
	}
	w := joins(t, first)
	id := ""
	for _, line := range lines(b.text) {
		ask, want, _ := strings.Cut(line, "→")
		method, rest, _ := strings.Cut(strings.TrimSpace(ask), " ")
		path, body, _ := strings.Cut(rest, " ")
		got := w.do(fmt.Sprintf("curl -s -X %s -d '%s' 'localhost:8500%s'", method, strings.TrimSpace(body), strings.NewReplacer("ID", id, "NODE", "s1").Replace(path)))
		var made struct{ ID string }
		if json.Unmarshal([]byte(got), &made) == nil && made.ID != "" {
			id = made.ID
		}
		for _, key := range regexp.MustCompile(`"\w+":`).FindAllString(want, -1) {
			if !strings.Contains(got, key) {
				t.Errorf("%s: there is no %s in %s", line, key, got)
			}
		}
	}
}

// followed follows a service, and compares the documented event.
func followed(t *testing.T, b block) {
	program.Need(t, "curl")
	w := newWorld(t)
	w.do(`curl -s -X PUT localhost:8500/v1/agent/service/register -d '{"Name":"web","Port":8000}'`)
	command, _, _ := strings.Cut(b.text, "\n")
	w.background(strings.ReplaceAll(command, "127.0.0.1:8500", "localhost:8500") + " > events.txt")
	w.await(func() bool {
		events, _ := os.ReadFile(filepath.Join(w.dir, "events.txt"))
		return regexp.MustCompile(`(?s)^event: view\nid: [-_0-9A-Za-z]{14}\ndata: {"Service":"web","Digest":"[0-9a-f]+","Position":0\.[0-9]+,"Whole":true,"Entries":\[{"Node":{.*},"Service":{.*},"Checks":\[.*\]}\]}\n`).Match(events)
	})
}

func execServer(t *testing.T, b block) {
	w := newWorld(t)
	w.do("skerry kv put global/config/log-level debug")
	w.do("skerry kv put app/config/color blue")
	w.server(program.Port(t))
	w.background(b.text)
	w.await(func() bool {
		env, _ := os.ReadFile(filepath.Join(w.dir, "env.txt"))
		return bytes.Contains(env, []byte("LOG_LEVEL=debug\n")) && bytes.Contains(env, []byte("COLOR=blue\n"))
	})
}

func template(t *testing.T, b block) {
	program.Need(t, "curl")
	w := newWorld(t)
	for i := range 2 {
		w.do(fmt.Sprintf(`curl -s -X PUT localhost:8500/v1/agent/service/register -d '{"Name":"web","ID":"web-%d","Port":%d}'`, i, 8000+i))
	}
	w.file("haproxy.ctmpl", "{{range service \"web\"}}server {{.ID}} {{.Address}}:{{.Port}}\n{{end}}")
	out := filepath.Join(w.dir, "haproxy.cfg")
	w.background(b.text, "/etc/haproxy/haproxy.cfg", out, "systemctl reload haproxy", "touch reloaded", "haproxy -c -f {}", "test -s {}")
	w.await(func() bool {
		text, _ := os.ReadFile(out)
		_, err := os.Stat(filepath.Join(w.dir, "reloaded"))
		return bytes.Count(text, []byte("server web-")) == 2 && err == nil
	})
}

// isGo reports whether a block is Go code of the SDK or of a package.
func isGo(b block) bool {
	return strings.Contains(b.text, ":= ") || strings.HasPrefix(b.text, "import")
}

func sdkOverview(t *testing.T, b block) { compiles(t, b) }

// preamble declares what the examples use without declaring it.
const preamble = `
var (
	ctx      context.Context
	err      error
	creds    grpc.DialOption
	c        *client.Client
	listener net.Listener
	s        *grpc.Server
	mux      *http.ServeMux
	catalog  skerry.Catalog
	self     skerry.Self
	cfg      dns.Config
	udp      net.PacketConn
	tcp      net.Listener
)
`

// packages are the names that examples use, with their paths.
var packages = map[string]string{
	"context": "context", "net": "net", "http": "net/http", "grpc": "google.golang.org/grpc", "otel": "go.opentelemetry.io/otel",
	"prometheus": "github.com/prometheus/client_golang/prometheus",
	"skerry":     "github.com/skerryhq/skerry", "client": "github.com/skerryhq/skerry/client", "clienttest": "github.com/skerryhq/skerry/client/clienttest",
	"debug": "github.com/skerryhq/skerry/client/debug", "skerryprometheus": "github.com/skerryhq/skerry/client/prometheus",
	"skerryotel": "github.com/skerryhq/skerry/client/otel", "skerrygrpc": "github.com/skerryhq/skerry/client/grpc",
	"skerryhttp": "github.com/skerryhq/skerry/client/http", "gozero": "github.com/skerryhq/skerry/client/gozero", "dns": "github.com/skerryhq/skerry/tongue/dns",
}

// compiles compiles a block as the body of a function. Names that it does not declare are
// those of the preamble; an ellipsis stands for code of the user.
func compiles(t *testing.T, b block) {
	text := regexp.MustCompile(`(?s)import \(.*?\)\n|import _ "[^"]*"[^\n]*(\n|$)`).ReplaceAllString(b.text, "")
	imported := regexp.MustCompile(`_? ?"(github.com/[^"]*)"`).FindAllStringSubmatch(b.text, -1)
	text = regexp.MustCompile(`\{ … (.*?) … \}`).ReplaceAllString(text, "{ _, _ = $1 }")
	var src strings.Builder
	src.WriteString("package example\n\nimport (\n")
	all := preamble + text
	for _, name := range slices.Sorted(mapKeys(packages)) {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(all) {
			fmt.Fprintf(&src, "\t%s %q\n", name, packages[name])
		}
	}
	for _, m := range imported {
		if !strings.Contains(m[1], "contrib/") { // a module of its own
			fmt.Fprintf(&src, "\t_ %q\n", m[1])
		}
	}
	src.WriteString(")\n" + preamble + "\nfunc example() {\n")
	src.WriteString(redeclared(text) + "\n}\n")
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "example.go")
	if err := os.WriteFile(file, []byte(src.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, _ := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(dir, "test/docs/example/example.go"): file}})
	overlayFile := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlayFile, "./test/docs/example")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, src.String())
	}
}

var (
	declares = regexp.MustCompile(`^(\w+(?:, \w+)*) := `)
	comment  = regexp.MustCompile(` //[^"]*$`)
)

// redeclared puts what follows a declaration into a block of its own, so that a name can be
// declared again, and uses the names.
func redeclared(body string) string {
	var out strings.Builder
	depth, open := 0, 0
	uses := ""
	for line := range strings.SplitSeq(body, "\n") {
		line = comment.ReplaceAllString(line, "")
		if m := declares.FindStringSubmatch(line); m != nil {
			out.WriteString("{\n")
			depth++
			for name := range strings.SplitSeq(m[1], ", ") {
				if name != "_" {
					uses += "_ = " + name + "\n"
				}
			}
		}
		out.WriteString(line + "\n")
		if open += strings.Count(line, "(") - strings.Count(line, ")"); open == 0 {
			out.WriteString(uses)
			uses = ""
		}
	}
	return out.String() + strings.Repeat("}\n", depth)
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
