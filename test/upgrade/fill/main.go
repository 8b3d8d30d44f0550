// Command fill runs the binary of an earlier commit, writes through its API, and packs
// its data folder with the answers of the API. make.sh calls it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/skerryhq/skerry/test/upgrade"
)

func main() {
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "fill:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	binary := flag.String("binary", "", "the `file` to run")
	commit := flag.String("commit", "", "the commit that it is of")
	out := flag.String("out", "", "where to write to, without .tar.gz and .json")
	store := flag.Bool("store", true, "write keys, sessions, queries and access control too")
	flag.Parse()
	folder, err := os.MkdirTemp("", "skerry-fill-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	ports, err := freePorts()
	if err != nil {
		return err
	}
	s, err := upgrade.Start(*binary, folder, ports, *store)
	if err != nil {
		return err
	}
	defer s.Kill()
	f := &filler{ctx: ctx, s: s, expected: upgrade.Expected{Commit: *commit, ACL: *store, Store: *store}}
	if *store {
		f.bootstrap()
	}
	f.registrations()
	f.external()
	if *store {
		f.control()
		f.keys()
		snapshot := f.do("GET", "/v1/snapshot", "")
		if err := os.WriteFile(filepath.Join(folder, "data", upgrade.Snapshot), []byte(snapshot), 0o600); err != nil {
			return err
		}
	}
	if f.err != nil {
		return fmt.Errorf("%w; the server logged %s", f.err, s.Log())
	}
	if err := s.Stop(); err != nil {
		return err
	}
	b, err := json.MarshalIndent(f.expected, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(upgrade.Pack(filepath.Join(folder, "data"), *out+".tar.gz"), os.WriteFile(*out+".json", append(b, '\n'), 0o644))
}

// freePorts returns ports that are free for now.
func freePorts() (ports [5]int, err error) {
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return ports, err
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// filler writes, and keeps the first error.
type filler struct {
	ctx      context.Context
	s        *upgrade.Server
	expected upgrade.Expected
	err      error
}

func (f *filler) do(method, path, body string) string {
	if f.err != nil {
		return ""
	}
	answer, err := f.s.Do(f.ctx, method, path, body)
	f.err = err
	return answer
}

// field makes a request and returns a field of the answer.
func (f *filler) field(name, method, path, body string) string {
	answer := f.do(method, path, body)
	if f.err != nil {
		return ""
	}
	var object map[string]any
	if f.err = json.Unmarshal([]byte(answer), &object); f.err != nil {
		return ""
	}
	value, ok := object[name].(string)
	if !ok {
		f.err = fmt.Errorf("%s %s: there is no %s in %s", method, path, name, answer)
	}
	return value
}

// facts keeps what the server answers.
func (f *filler) facts(paths ...string) {
	for _, path := range paths {
		f.factAs("", path)
	}
}

func (f *filler) factAs(token, path string) {
	if f.err != nil {
		return
	}
	as := f.s.Token
	if token != "" {
		as = token
	}
	answer, err := f.s.DoAs(f.ctx, as, "GET", path, "")
	if err != nil {
		f.err = err
		return
	}
	want, err := upgrade.Decode(answer)
	f.err = err
	f.expected.Facts = append(f.expected.Facts, upgrade.Fact{Path: path, Token: token, Want: upgrade.Steady(path, want)})
}

func (f *filler) bootstrap() {
	if f.err = f.awaitBootstrap(); f.err != nil {
		return
	}
	f.expected.Token = f.s.Token
}

func (f *filler) awaitBootstrap() error {
	for {
		answer, err := f.s.Do(f.ctx, "PUT", "/v1/acl/bootstrap", "")
		if err == nil {
			var token struct{ SecretID string }
			err := json.Unmarshal([]byte(answer), &token)
			f.s.Token = token.SecretID
			return err
		}
		if !strings.Contains(err.Error(), ": 500 ") { // the store is not open yet
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-f.ctx.Done():
			return err
		}
	}
}

// registrations writes what the agent's journal keeps.
func (f *filler) registrations() {
	f.do("PUT", "/v1/agent/service/register", `{"ID": "Web-1", "Name": "Web", "Port": 8080, "Address": "10.0.0.1", "Tags": ["a", "B"], "Meta": {"k": "v"},
		"Weights": {"Passing": 7, "Warning": 2}, "TaggedAddresses": {"wan": {"Address": "198.51.100.1", "Port": 80}},
		"Checks": [{"CheckID": "Beat", "Name": "beat", "TTL": "24h"}, {"CheckID": "late", "TTL": "24h", "Status": "passing"}]}`)
	f.do("PUT", "/v1/agent/check/pass/Beat?note=kept", "")
	f.do("PUT", "/v1/agent/check/warn/late?note=slow", "")
	f.do("PUT", "/v1/agent/service/register", `{"ID": "web-2", "Name": "Web", "Port": 8081}`)
	f.do("PUT", "/v1/agent/service/maintenance/web-2?enable=true&reason=repair", "")
	f.do("PUT", "/v1/agent/service/register", `{"ID": "gone", "Name": "gone"}`)
	f.do("PUT", "/v1/agent/service/deregister/gone", "")
	f.do("PUT", "/v1/agent/check/register", `{"ID": "node-beat", "Name": "of the node", "TTL": "24h", "Status": "passing", "Notes": "n"}`)
	f.do("PUT", "/v1/skerry/owner/batch-7", `{"Address": "10.0.0.7", "TTL": "24h", "Node": "batch-7", "NodeMeta": {"rack": "r1"},
		"Services": [{"Name": "batch", "Port": 9000, "Tags": ["t"]}]}`)
	f.do("PUT", "/v1/skerry/owner/batch-8", `{"Address": "10.0.0.8", "TTL": "24h", "Services": [{"Name": "batch", "Port": 9001}]}`)
	f.do("DELETE", "/v1/skerry/owner/batch-8", "")
	f.facts("/v1/agent/services", "/v1/agent/checks", "/v1/health/service/Web", "/v1/health/service/batch", "/v1/health/service/gone")
}

// external writes what other programs keep through the catalog.
func (f *filler) external() {
	f.do("PUT", "/v1/catalog/register", `{"Node": "Db-1", "Address": "10.0.0.9", "NodeMeta": {"external-node": "true"},
		"Service": {"ID": "pg-1", "Service": "Postgres", "Port": 5432, "Tags": ["primary"]},
		"Checks": [{"CheckID": "pg-up", "Name": "up", "Status": "passing", "ServiceID": "pg-1"}]}`)
	f.do("PUT", "/v1/catalog/register", `{"Node": "db-2", "Address": "10.0.0.10", "Service": {"Service": "postgres-old", "Port": 5432}}`)
	f.do("PUT", "/v1/catalog/deregister", `{"Node": "db-2"}`)
	f.facts("/v1/catalog/node/Db-1", "/v1/health/service/Postgres", "/v1/catalog/services", "/v1/catalog/nodes")
}

// control writes policies, roles and tokens.
func (f *filler) control() {
	policy := f.field("ID", "PUT", "/v1/acl/policy", `{"Name": "web", "Description": "d", "Rules": "service_prefix \"\" { policy = \"read\" }\nnode_prefix \"\" { policy = \"read\" }\nkey_prefix \"app/\" { policy = \"write\" }"}`)
	role := f.field("ID", "PUT", "/v1/acl/role", `{"Name": "readers", "Policies": [{"Name": "web"}]}`)
	token := f.do("PUT", "/v1/acl/token", `{"Description": "of web", "Roles": [{"Name": "readers"}], "ServiceIdentities": [{"ServiceName": "web"}]}`)
	if f.err != nil {
		return
	}
	var made struct{ AccessorID, SecretID string }
	if f.err = json.Unmarshal([]byte(token), &made); f.err != nil {
		return
	}
	f.do("PUT", "/v1/acl/token", `{"AccessorID": "6a1253d2-1111-2222-3333-444455556666", "SecretID": "45a3bd52-1111-2222-3333-444455556666", "Policies": [{"Name": "web"}]}`)
	f.do("PUT", "/v1/agent/token/default", fmt.Sprintf(`{"Token": %q}`, made.SecretID))
	f.facts("/v1/acl/token/6a1253d2-1111-2222-3333-444455556666")
	f.facts("/v1/acl/policy/"+policy, "/v1/acl/role/"+role, "/v1/acl/token/"+made.AccessorID, "/v1/acl/policies", "/v1/acl/roles")
	f.factAs(made.SecretID, "/v1/acl/token/self")
	f.factAs(made.SecretID, "/v1/health/service/Web")
	f.do("POST", "/v1/query", fmt.Sprintf(`{"Name": "of-web", "Token": %q, "Service": {"Service": "Web", "OnlyPassing": false}}`, made.SecretID))
	query := f.field("ID", "POST", "/v1/query", `{"Name": "near", "Template": {"Type": "name_prefix_match"}, "Service": {"Service": "${name.suffix}", "Failover": {"Datacenters": ["dc2"]}}, "DNS": {"TTL": "10s"}}`)
	f.facts("/v1/query", "/v1/query/"+query, "/v1/query/of-web/execute")
}

// keys writes keys, a session with a lock, and an event.
func (f *filler) keys() {
	f.do("PUT", "/v1/kv/app/color?flags=42", "blue")
	f.do("PUT", "/v1/kv/app/empty", "")
	f.do("PUT", "/v1/kv/app/bytes", "\x00\xfe\xf5\xff\xc1\x01")
	f.do("PUT", "/v1/kv/app/text", "fe f5 ff c1")
	f.do("PUT", "/v1/kv/app/old", "1")
	f.do("PUT", "/v1/kv/app/old", "2")
	f.do("PUT", "/v1/kv/app/gone", "x")
	f.do("DELETE", "/v1/kv/app/gone", "")
	session := f.field("ID", "PUT", "/v1/session/create", `{"Name": "holder", "LockDelay": "3s", "NodeChecks": []}`)
	other := f.field("ID", "PUT", "/v1/session/create", `{"Name": "short", "TTL": "24h", "Behavior": "delete"}`)
	f.do("PUT", "/v1/kv/app/lock?acquire="+session, "held")
	f.do("PUT", "/v1/kv/app/lock2?acquire="+other, "held")
	f.do("PUT", "/v1/event/fire/deploy", "payload")
	f.facts("/v1/kv/app/?recurse", "/v1/session/info/"+session, "/v1/session/info/"+other, "/v1/event/list?name=deploy")
}
