package docs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/test/program"
)

// whole runs the commands that judge a cluster.
func whole(t *testing.T, b block) {
	w := newWorld(t)
	for _, line := range lines(b.text) {
		w.await(func() bool { return w.command(line).Run() == nil }) // autopilot needs a moment to call a server well
	}
}

// upgrades runs the commands of an upgrade at one server: the lead can be handed over to no other.
func upgrades(t *testing.T, b block) {
	w := newWorld(t)
	w.file("web.hcl", `data_dir = "data"`)
	all := lines(b.text)
	w.do(all[0], "/etc/skerry/conf.d", filepath.Join(w.dir, "web.hcl"))
	w.do(all[1])
	if out, err := w.command(all[2]).CombinedOutput(); err == nil || !strings.Contains(string(out), "refused") {
		t.Errorf("%v %s", err, out)
	}
}

// cluster is servers that joined by tokens.
type cluster struct {
	*testing.T
	servers []*world
	join    string // the address of the first
}

// add starts a server in a world of its own, with a token.
func (c *cluster) add(token string) *world {
	c.Helper()
	w := &world{T: c.T, dir: c.TempDir(), http: fmt.Sprintf("127.0.0.1:%d", program.Port(c.T)), dns: fmt.Sprintf("127.0.0.1:%d", program.Port(c.T))}
	port := program.Port(c.T)
	args := []string{
		"-server", "-data-dir", filepath.Join(w.dir, "data"), "-node", fmt.Sprint("s", len(c.servers)+1), "-bind", "127.0.0.1", "-server-port", fmt.Sprint(port),
		"-serf-lan-port", fmt.Sprint(program.Port(c.T)), "-serf-wan-port", fmt.Sprint(program.Port(c.T)), "-join-token-file", token,
		"-hcl", `autopilot { server_stabilization_time = "1s" }`,
	}
	if c.join == "" {
		c.join = fmt.Sprint("127.0.0.1:", port)
		w.do(fmt.Sprintf("skerry token create -server -uses 3 -data-dir %s > %s", filepath.Join(w.dir, "data"), token))
		args = append(args, "-bootstrap-expect", "3")
	}
	args = append(args, "-retry-join", c.join)
	c.servers = append(c.servers, w)
	w.launch(args...)
	return w
}

// voters waits until that many servers have a vote as one of them sees it. On a busy host a new one counts as well late.
func (w *world) voters(n int) {
	w.Helper()
	var out []byte
	err := program.Await(3*time.Minute, func() (err error) {
		out, err = w.command("skerry operator raft list-peers").CombinedOutput()
		if err == nil && (strings.Count(string(out), " true ") != n || strings.Count(string(out), "\n") != n+1) {
			err = errors.New("not yet")
		}
		return err
	})
	if err != nil {
		w.Fatalf("%d servers with a vote: %v\n%s", n, err, out)
	}
}

// replaces replaces a server that leaves, and one that is dead, and recovers the last one.
func replaces(t *testing.T, b block) {
	c := &cluster{T: t}
	token := filepath.Join(t.TempDir(), "token")
	for range 3 {
		c.add(token)
	}
	first := c.servers[0]
	first.voters(3)
	all := lines(b.text)
	if !strings.HasPrefix(all[1], "skerry agent -server … -join-token-file join-token ") {
		t.Fatalf("the second line is %q", all[1])
	}
	first.do(all[0])
	c.add(filepath.Join(first.dir, "join-token"))
	first.await(func() bool {
		out, err := first.command("skerry operator raft list-peers").Output()
		return err == nil && strings.Contains(string(out), "s4 ") && first.command("skerry operator autopilot state").Run() == nil
	})
	c.servers[1].do(all[2])
	first.voters(3)
	c.servers[2].kill()
	first.await(func() bool {
		out, err := first.command("skerry members").Output()
		return err == nil && slices.ContainsFunc(lines(string(out)), func(l string) bool { return strings.HasPrefix(l, "s3 ") && !strings.Contains(l, "alive") })
	})
	first.do(all[3])
	first.voters(2)

	c.servers[3].kill()
	first.kill()
	for _, one := range blocks(t, root, "doc/cluster.md") {
		if strings.HasPrefix(one.text, "skerry operator quorum recover ") {
			first.do("echo s1 | "+one.text, "/var/lib/skerry", filepath.Join(first.dir, "data"))
			return
		}
	}
	t.Error("there is no command that recovers")
}

var (
	alertName   = regexp.MustCompile(`- alert: (\w+)`)
	alertMetric = regexp.MustCompile(`\bskerry_\w+`)
)

// The alert rules are valid, doc/cluster.md has an action for each, and doc/metrics.md has all their metrics.
func TestAlerts(t *testing.T) {
	const file = root + "/deploy/prometheus/alerts.yaml"
	text := func(path string) string {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	rules, page, metrics := text(file), text(root+"/doc/cluster.md"), text(root+"/doc/metrics.md")
	names := alertName.FindAllStringSubmatch(rules, -1)
	for _, name := range names {
		if !strings.Contains(page, "\n| "+name[1]+" |") {
			t.Errorf("doc/cluster.md has no action for %s", name[1])
		}
	}
	if rows := strings.Count(page, "\n| Skerry"); rows != len(names) || rows == 0 {
		t.Errorf("doc/cluster.md has %d rows, and there are %d rules", rows, len(names))
	}
	for _, m := range alertMetric.FindAllString(rules, -1) {
		if !strings.Contains(metrics, "`"+m+"`") && !strings.Contains(metrics, "`"+m+"{") {
			t.Errorf("doc/metrics.md has no %s", m)
		}
	}
	program.Need(t, "promtool")
	if out, err := exec.Command("promtool", "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, out)
	}
}
