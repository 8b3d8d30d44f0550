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
	{from: []string{"./catalog"}, to: []string{"./..."}, except: []string{".", "./catalog"},
		reason: "the catalog knows the words and nothing above it"},
	{from: []string{"./journal"}, to: []string{"./..."}, except: []string{".", "./files"},
		reason: "the journal keeps lines; what they mean is their keepers' business"},
	{from: []string{"./quorum/replica"}, to: []string{"./...", "others"},
		except: []string{".", "./quorum/replica", "github.com/google/btree", "github.com/hashicorp/go-immutable-radix"},
		reason: "the copy of the decided things knows the words and the trees that it is kept in, so that any engine can fill it"},
	{from: []string{"./quorum/replica", "./decided", "./access"}, apart: []string{"./access/kubernetes", "./access/jwt", "./access/outside"},
		to:     []string{"net", "net/http", "os/exec", "google.golang.org/grpc"},
		reason: "what is decided, and who may, is found in the store: nothing else is asked"},
	{from: []string{"./quorum"}, to: []string{"./..."}, except: []string{".", "./files", "./mixed", "./quorum/replica", "./quorum"},
		reason: "an engine's adapter keeps records; what they mean is decided's and access's business"},
	{from: []string{"./quorum/kvtest"}, to: []string{"./...", "others"}, except: []string{"."},
		reason: "the promises of a store are asked of the interface alone, so that any store can be held to them"},
	{from: []string{"./decided"}, to: []string{"./..."}, except: []string{".", "./decided", "./filter"},
		reason: "keys, sessions and queries mean the same over any store: they know its interface alone"},
	{from: []string{"./decided/record"}, to: []string{"./...", "others"}, except: []string{"."},
		reason: "the keys and records of the store are below all packages that read them"},
	{from: []string{"./decided/once"}, to: []string{"./..."}, except: []string{"."},
		reason: "a request is made once whatever it changes: the packages that change something are above"},
	{from: []string{"./decided/kv"}, to: []string{"./..."}, except: []string{".", "./decided/once", "./decided/record"},
		reason: "a lock needs the record of a session; how sessions are made and end is above it"},
	{from: []string{"./decided/query"}, to: []string{"./..."}, except: []string{".", "./decided/once", "./decided/record", "./filter"},
		reason: "a query needs the record of a session; how sessions are made and end is above it"},
	{from: []string{"./decided/session"}, to: []string{"./..."}, except: []string{".", "./decided/once", "./decided/kv", "./decided/query", "./decided/record"},
		reason: "the end of a session releases keys and drops queries, and nothing else"},
	{from: []string{"./decided/external"}, to: []string{"./..."}, except: []string{".", "./decided/record", "./decided/session"},
		reason: "an external record that goes ends the sessions bound to it; of keys and queries it knows nothing"},
	{from: []string{"./decided/txn"}, to: []string{"./..."}, except: []string{".", "./decided/external", "./decided/kv", "./decided/session"},
		reason: "a transaction is made of the operations of other packages and has no records of its own"},
	{from: []string{"./decided/settings"}, to: []string{"./..."}, except: []string{".", "./decided/once", "./decided/record"},
		reason: "what is decided about the servers has nothing to do with the other records"},
	{from: []string{"./decided/event", "./decided/coordinate"}, to: []string{"./..."}, except: []string{".", "./decided/once", "./decided/record", "./filter"},
		reason: "events and coordinates have nothing to do with the other records"},
	{from: []string{"./decided/snapshot"}, to: []string{"./..."}, except: []string{".", "./decided/archive", "./decided/query", "./decided/record", "./decided/session"},
		reason: "a snapshot knows of a record only that sessions need leases and tokens stay hidden"},
	{from: []string{"./decided/decidedtest"}, to: []string{"./...", "others"}, except: []string{"."},
		reason: "the tests of every package below decided can use it"},
	{from: []string{"./decided/archive"}, to: []string{"./...", "others"},
		reason: "the form of a snapshot is read without a store too, by the command line"},
	{from: []string{"./steady"}, to: []string{"./...", "others"},
		reason: "a clock needs nothing"},
	{from: []string{"./rescue"}, to: []string{"./..."}, except: []string{"./rescue"},
		reason: "a panic is recovered in one way wherever it comes, so this knows nothing of where"},
	{from: []string{"./process"}, to: []string{"./...", "others"},
		reason: "ending programs needs the system alone, so that checks and tools can do it the one way"},
	{from: []string{"./files"}, to: []string{"./...", "others"},
		reason: "opening a file needs nothing, so that everybody can do it the one way"},
	{from: []string{"./access"}, to: []string{"./..."}, except: []string{".", "./decided/once", "./access", "./files", "./filter"},
		reason: "access control knows the words and the store's interface, and no protocol"},
	{from: []string{"./access/rules"}, to: []string{"net", "os", "net/http", "time", "./..."}, except: []string{"."},
		reason: "rules are pure: they decide by what they are given"},
	{from: []string{"./config"}, to: []string{"./..."}, except: []string{".", "./config", "./files"},
		reason: "configuration says what was written; cmd translates it for the parts"},
	{from: []string{"./check"}, to: []string{"./..."}, except: []string{".", "./check", "./steady", "./process", "./rescue"},
		reason: "checks report to whom runs them and know neither agent nor catalog"},
	{from: []string{"./agent"}, to: []string{"./catalog", "./registry", "./node", "./tongue", "./config", "./tool", "./cmd"},
		reason: "an agent announces through the root's interfaces, to whatever is behind them"},
	{from: []string{"./filter"}, to: []string{"net", "os", "net/http", "time", "./...", "others"},
		reason: "an expression is judged by its text and the value alone"},
	{from: []string{"./tongue/consul"}, to: []string{"./..."}, except: []string{".", "./door/recorder", "./filter", "./rescue", "./tongue/consul"},
		reason: "a tongue only translates: it knows the root's interfaces, never an engine and never another tongue"},
	{from: []string{"./tongue/dns"}, to: []string{"./..."}, except: []string{".", "./door/tally", "./rescue", "./tongue/dns"},
		reason: "a tongue only translates: it knows the root's interfaces, never an engine and never another tongue"},
	{from: []string{"./door/tally"}, to: []string{"net", "net/http", "time", "./...", "others"},
		reason: "counting by address needs nothing, so that every front-end can count the one way"},
	{from: []string{"./door"}, to: []string{"./..."}, except: []string{".", "./door", "./files", "./rates", "./rescue"},
		reason: "the door knows none of the front-ends behind it"},
	{from: []string{"./door/park"}, to: []string{"./..."}, except: []string{".", "./rescue"},
		reason: "any front-end can park its requests, by the root's interface"},
	{from: []string{"./tongue/consul/wire"}, to: []string{"./...", "os", "net"}, except: []string{"."},
		reason: "what is on the wire is bytes in and records out"},
	{from: []string{"./tongue"}, to: []string{"./door/park"},
		reason: "a tongue parks by the root's interface"},
	{from: []string{"./cluster"}, apart: []string{"./cluster/sim", "./cluster/frame"}, to: []string{"./...", "others", "net", "os", "sync", "sync/atomic", "context", "log/slog"}, except: []string{"."},
		reason: "the protocol is pure, so that it can be simulated: messages, the clock and chance go in"},
	{from: []string{"./cluster/sim"}, to: []string{"./...", "others", "net", "os", "sync", "context"}, except: []string{".", "./cluster"},
		reason: "a schedule depends on its seed alone"},
	{from: []string{"./cluster/frame"}, to: []string{"./...", "others", "net", "os", "sync", "context"}, except: []string{"./cluster"},
		reason: "a frame is a message in bytes, whatever carries it"},
	{from: []string{"./attach"}, to: []string{"./...", "net", "net/http"}, except: []string{".", "./cluster", "./rest"},
		reason: "an attachment gives the protocol's owner a clock and streams, which are handed to it"},
	{from: []string{"./link", "./forward"}, to: []string{"./..."}, except: []string{"./mixed"},
		reason: "they move frames and requests, whatever they mean"},
	{from: []string{"./follow"}, to: []string{"./...", "net", "net/http"}, except: []string{".", "./files", "./follow", "./rest"},
		reason: "followed views come from any discovery and travel over streams, which are handed to it"},
	{from: []string{"./wan"}, to: []string{"./...", "net/http"}, except: []string{".", "./rest"},
		reason: "it knows servers and round trips; the question to one is handed to it"},
	{from: []string{"./roundtrip"}, to: []string{"./...", "net", "net/http"},
		reason: "it knows names, times and coordinates; how a server is asked and measured is handed to it"},
	{from: []string{"./rest"}, to: []string{"./...", "others", "net", "os"},
		reason: "it knows names and errors, whatever is asked of a server"},
	{from: []string{"./readers"}, to: []string{"./...", "others", "net", "os"},
		reason: "readers are counted by their numbers, whatever protocol they speak"},
	{from: []string{"./propagation"}, to: []string{"./...", "net", "os"}, except: []string{".", "./steady"},
		reason: "it is told of changes and acknowledgements; how they travel is known above"},
	{from: []string{"./lease"}, to: []string{"./..."}, except: []string{".", "./journal"},
		reason: "leases announce through the root's interfaces, as an agent does"},
	{from: []string{"./pki"}, apart: []string{"./pki/book", "./pki/disk"}, to: []string{"./..."}, except: []string{".", "./pki"},
		reason: "certificates and tokens mean the same wherever they are kept: books are handed to them"},
	{from: []string{"./pki/book"}, to: []string{"./..."}, except: []string{".", "./decided/record", "./pki", "./pki/join"},
		reason: "the tokens in the quorum store are records like others"},
	{from: []string{"./rates"}, to: []string{"./..."},
		reason: "a limit by address needs to know nothing of the requests"},
	{from: []string{"./heap", "./host", "./logstream"}, to: []string{"./...", "others"}, except: []string{"./files", "golang.org/x/sys/unix"},
		reason: "they know the process and the machine, nothing of a registry"},
	{from: []string{"./node"}, to: []string{"./config", "./cmd", "./tool"},
		reason: "a node is assembled from values; reading files and flags is for cmd"},
	{from: []string{"./tool"}, to: []string{"./..."}, except: []string{".", "./tool", "./process"},
		reason: "tools are clients: they talk to any address that speaks the protocol"},
	{from: []string{"./client"}, to: []string{"./..."}, except: []string{"./client"},
		reason: "the SDK is linked into its users' programs, and works with registries that are not ours"},
	{from: []string{"./client/lb"}, to: []string{"net", "net/http", "os", "context", "./...", "others"},
		reason: "balancing is pure: whoever sends the calls tells it the time"},
	{from: []string{"./examples"}, to: []string{"./..."}, except: []string{"./examples", "./client"},
		reason: "the samples are what users can write: they know the SDK alone"},
	{from: []string{"./examples/consulclient", "./examples/fileserver"}, to: []string{"./client"},
		reason: "they show that what knows nothing of Skerry works unchanged"},
	{from: []string{"./..."}, apart: []string{"./bus/bustest", "./catalog/catalogtest", "./client/sourcetest", "./decided/decidedtest", "./quorum/kvtest", "./test"},
		to: []string{"./test", "testing"}, reason: "what only tests need stays out of the binary"},
	{from: []string{"./..."}, apart: []string{"./cmd", "./examples", "./scripts", "./test"},
		to: []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "flag", "./cmd"}, reason: "the command line is cmd's alone"},
	{from: []string{"./..."}, apart: []string{"./quorum", "./client/etcd"},
		to: []string{"go.etcd.io/etcd", "go.etcd.io/bbolt", "go.etcd.io/raft"}, reason: "only quorum knows the engine of the store, and the SDK's source of that name its registry"},
	{from: []string{"./..."}, apart: []string{"./bus"},
		to: []string{"github.com/nats-io"}, reason: "only the bus knows the engine that carries its frames"},
	{from: []string{"./mixed"}, to: []string{"./...", "others"},
		reason: "a connection is taken and made whatever goes over it"},
	{from: []string{"./bus"}, to: []string{"./..."}, except: []string{"./bus", "./mixed", "./rescue"},
		reason: "the bus moves frames, whatever they mean"},
	{from: []string{"./..."}, apart: []string{"./node", "./quorum", "./test"}, to: []string{"./quorum"},
		reason: "a server chooses the engine; everybody else knows the store's interface"},
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
		module:                       module + "/catalog",
		module + "/catalog":          "net/http",
		module + "/tongue/dns":       module + "/tongue/consul",
		module + "/tongue/consul":    module + "/catalog",
		module + "/check/http":       module + "/agent",
		module + "/agent":            "go.etcd.io/etcd/client/v3",
		module + "/node":             module + "/config",
		module + "/journal":          "github.com/spf13/cobra",
		module + "/decided":          module + "/quorum",
		module + "/decided/record":   module + "/decided/kv",
		module + "/decided/kv":       module + "/decided/session",
		module + "/decided/once":     module + "/decided/record",
		module + "/decided/query":    module + "/decided/session",
		module + "/decided/session":  module + "/decided/external",
		module + "/decided/external": module + "/decided/kv",
		module + "/decided/txn":      module + "/decided/record",
		module + "/decided/event":    module + "/decided/coordinate",
		module + "/decided/settings": module + "/decided/event",
		module + "/decided/snapshot": module + "/decided",
		module + "/quorum/replica":   "go.etcd.io/etcd/api/v3/mvccpb",
		module + "/quorum":           module + "/decided",
		module + "/access":           "net/http",
		module + "/tool/lock":        module + "/decided/archive",
		module + "/tool/template":    "flag",
		module + "/cmd/skerry":       module + "/quorum",
		module + "/client/consul":    module + "/tongue/consul",
		module + "/client/lb":        "context",
		module + "/bus":              module + "/cluster",
		module + "/bus/bustest":      module + "/catalog",
		module + "/quorum/kvtest":    "github.com/nats-io/nats.go",
		module + "/attach":           module + "/link",
		module + "/link":             module + "/cluster/frame",
		module + "/forward":          module + "/tongue/consul",
		module + "/cluster/frame":    module + "/registry",
	} {
		if len(violations([]listed{{ImportPath: from, Imports: []string{to}}})) == 0 {
			t.Errorf("nobody forbids %s to import %s", from, to)
		}
	}
	if v := violations([]listed{
		{ImportPath: module + "/catalog", Imports: []string{"net/netip", module}},
		{ImportPath: module + "/quorum/replica", Imports: []string{module, "github.com/google/btree"}},
		{ImportPath: module + "/quorum", Imports: []string{module, module + "/quorum/replica", "go.etcd.io/etcd/client/v3"}},
		{ImportPath: module + "/decided/txn", Imports: []string{module, module + "/decided/external", module + "/decided/kv", module + "/decided/session"}},
		{ImportPath: module + "/decided", Imports: []string{module, module + "/decided/txn", "github.com/prometheus/client_golang/prometheus"}},
		{ImportPath: module + "/bus", Imports: []string{module + "/rescue", "github.com/nats-io/nats.go", "net"}},
		{ImportPath: module + "/bus/bustest", Imports: []string{module + "/bus", "testing"}},
		{ImportPath: module + "/access/jwt", Imports: []string{module + "/access", "net/http"}},
	}); len(v) > 0 {
		t.Errorf("what is allowed is forbidden: %v", v)
	}
}

// A program has only those dependencies whose source it imports.
func TestTheSDKLinksWhatIsImported(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if .Module}}{{.ImportPath}}{{end}}", module+"/client", module+"/client/lb", module+"/client/consul").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		if !strings.HasPrefix(path, module+"/client") {
			t.Errorf("a program that imports the SDK with Skerry's source links %s", path)
		}
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
