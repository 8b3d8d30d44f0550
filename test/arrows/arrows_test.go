// Package arrows holds the direction of the imports between the packages: they
// go down, from cmd to the words in the root package, and no other way.
package arrows

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/skerryhq/skerry"

// rule forbids packages below from to import what is below to. A leading "./" is
// this module, "." the root package alone, "./..." all of the module, "others"
// all other modules.
type rule struct {
	from   []string
	apart  []string // of from
	to     []string
	except []string // of to
	reason string
}

var rules = []rule{
	{from: []string{"."}, to: []string{"others", "./..."},
		reason: "the words are the standard library's only, so that everything can import them"},
	{from: []string{"./catalog"}, to: []string{"net", "os", "os/exec", "net/http", "path/filepath", "syscall", "io/fs"},
		reason: "the catalog is pure: no socket and no disk"},
	{from: []string{"./catalog"}, to: []string{"./..."}, except: []string{".", "./catalog", "./steady"},
		reason: "the catalog knows the words and nothing above it"},
	{from: []string{"./journal"}, to: []string{"./..."}, except: []string{"."},
		reason: "the journal keeps lines; what they mean is their keepers' business"},
	{from: []string{"./steady"}, to: []string{"./...", "others"},
		reason: "a clock needs nothing"},
	{from: []string{"./access"}, to: []string{"./..."}, except: []string{".", "./access"},
		reason: "access control knows the words and the store's interface, and no protocol"},
	{from: []string{"./access/rules"}, to: []string{"net", "os", "net/http", "time", "./..."}, except: []string{"."},
		reason: "rules are pure: they decide by what they are given"},
	{from: []string{"./config"}, to: []string{"./..."}, except: []string{".", "./config"},
		reason: "configuration says what was written; cmd translates it for the parts"},
	{from: []string{"./check"}, to: []string{"./..."}, except: []string{".", "./check", "./steady"},
		reason: "checks report to whom runs them and know neither agent nor catalog"},
	{from: []string{"./agent"}, to: []string{"./catalog", "./server", "./tongue", "./config", "./tool", "./cmd"},
		reason: "an agent announces through the root's interfaces, to whatever is behind them"},
	{from: []string{"./tongue/consul"}, to: []string{"./..."}, except: []string{".", "./tongue/consul"},
		reason: "a tongue only translates: it knows the root's interfaces, never an engine and never another tongue"},
	{from: []string{"./tongue/dns"}, to: []string{"./..."}, except: []string{".", "./tongue/dns"},
		reason: "a tongue only translates: it knows the root's interfaces, never an engine and never another tongue"},
	{from: []string{"./server"}, to: []string{"./config", "./cmd", "./tool"},
		reason: "a server is put together from values; reading files and flags is cmd's"},
	{from: []string{"./tool"}, to: []string{"./catalog", "./agent", "./server", "./journal", "./config", "./cmd"},
		reason: "tools are clients: they talk to any address that speaks the protocol"},
	{from: []string{"./examples"}, to: []string{"./..."}, except: []string{"./examples"},
		reason: "the samples work against a real Consul too"},
	{from: []string{".", "./agent", "./catalog", "./check", "./config", "./journal", "./server", "./steady", "./tongue", "./tool", "./cmd", "./client", "./access"},
		apart: []string{"./catalog/catalogtest"},
		to:    []string{"./test", "testing"}, reason: "what only tests need stays out of the binary"},
	{from: []string{"./access", "./agent", "./catalog", "./check", "./config", "./journal", "./server", "./steady", "./tongue", "./tool", "./client"},
		to: []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "flag", "./cmd"}, reason: "the command line is cmd's alone"},
	{from: []string{".", "./agent", "./catalog", "./check", "./config", "./journal", "./server", "./steady", "./tongue", "./tool", "./cmd", "./client"},
		to: []string{"github.com/nats-io", "go.etcd.io/etcd"}, reason: "only bus and quorum know the engines"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestArrows(t *testing.T) {
	packages := list(t)
	for _, r := range rules {
		if !slices.ContainsFunc(packages, func(p listed) bool { return below(p.ImportPath, r.from) }) {
			t.Errorf("no package is below %v: the rule holds nothing (%s)", r.from, r.reason)
		}
	}
	for _, v := range violations(packages) {
		t.Error(v)
	}
}

// The rules see an arrow that goes up.
func TestArrowsSeeWhatIsForbidden(t *testing.T) {
	for from, to := range map[string]string{
		module:                    module + "/catalog",
		module + "/catalog":       "net/http",
		module + "/tongue/dns":    module + "/tongue/consul",
		module + "/tongue/consul": module + "/catalog",
		module + "/check/http":    module + "/agent",
		module + "/agent":         "go.etcd.io/etcd/client/v3",
		module + "/server":        module + "/config",
		module + "/journal":       "github.com/spf13/cobra",
	} {
		if len(violations([]listed{{ImportPath: from, Imports: []string{to}}})) == 0 {
			t.Errorf("nobody forbids %s to import %s", from, to)
		}
	}
	if v := violations([]listed{{ImportPath: module + "/catalog", Imports: []string{"net/netip", module, module + "/steady"}}}); len(v) > 0 {
		t.Errorf("what is allowed is forbidden: %v", v)
	}
}

func violations(packages []listed) (out []string) {
	for _, p := range packages {
		for _, r := range rules {
			if !below(p.ImportPath, r.from) || below(p.ImportPath, r.apart) {
				continue
			}
			for _, i := range p.Imports {
				if below(i, r.to) && !below(i, r.except) {
					out = append(out, fmt.Sprintf("%s imports %s: %s", p.ImportPath, i, r.reason))
				}
			}
		}
	}
	return out
}

// below reports whether a package is one of those that patterns name.
func below(path string, patterns []string) bool {
	own := path == module || strings.HasPrefix(path, module+"/")
	for _, p := range patterns {
		switch {
		case p == ".":
			if path == module {
				return true
			}
		case p == "./...":
			if own {
				return true
			}
		case p == "others":
			if first, _, _ := strings.Cut(path, "/"); !own && strings.Contains(first, ".") {
				return true
			}
		case strings.HasPrefix(p, "./"):
			full := module + p[1:]
			if path == full || strings.HasPrefix(path, full+"/") {
				return true
			}
		case strings.Contains(p, "."):
			if path == p || strings.HasPrefix(path, p+"/") {
				return true
			}
		case path == p: // of the standard library, without what is below it
			return true
		}
	}
	return false
}

func list(t *testing.T) (out []listed) {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...")
	cmd.Dir = "../.."
	data, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for d := json.NewDecoder(strings.NewReader(string(data))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
}
