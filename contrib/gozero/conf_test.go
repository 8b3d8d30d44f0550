package gozero

//lint:file-ignore SA5008 the tags are go-zero's

import (
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/core/discov"
	"github.com/zeromicro/go-zero/gateway"
	"github.com/zeromicro/go-zero/zrpc"

	gozeroconf "github.com/skerryhq/skerry/client/gozero"
)

// ofOurs and etcdOfOurs put what both readers must agree on into go-zero's types.
func ofOurs(c *gozeroconf.ClientConf) zrpc.RpcClientConf {
	out := zrpc.RpcClientConf{
		Etcd: etcdOfOurs(c.Etcd), Endpoints: c.Endpoints, Target: c.Target, App: c.App, Token: c.Token, NonBlock: c.NonBlock,
		Timeout: c.Timeout.Milliseconds(), KeepaliveTime: c.KeepaliveTime,
		Middlewares: zrpc.ClientMiddlewaresConf{
			Trace: c.Middlewares.Trace, Duration: c.Middlewares.Duration, Prometheus: c.Middlewares.Prometheus,
			Breaker: c.Middlewares.Breaker, Timeout: c.Middlewares.Timeout,
		},
	}
	if name := reflect.ValueOf(&out).Elem().FieldByName("BalancerName"); name.IsValid() { // since 1.9
		name.SetString(c.BalancerName)
	}
	return out
}

func etcdOfOurs(e gozeroconf.Etcd) discov.EtcdConf {
	return discov.EtcdConf{
		Hosts: e.Hosts, Key: e.Key, ID: e.ID, User: e.User, Pass: e.Pass,
		CertFile: e.CertFile, CertKeyFile: e.CertKeyFile, CACertFile: e.CACertFile, InsecureSkipVerify: e.InsecureSkipVerify,
	}
}

// compare reads the block Rpc of a file by both.
func compare(t *testing.T, file, path string, theirs *zrpc.RpcClientConf, err error) {
	t.Helper()
	mine, err2 := gozeroconf.ReadClient(file, path, gozeroconf.UseEnv())
	if err != nil || err2 != nil {
		t.Errorf("%s %s: go-zero says %v, we say %v", file, path, err, err2)
		return
	}
	if len(theirs.Endpoints) == 0 {
		theirs.Endpoints = nil
	}
	var defaults zrpc.RpcClientConf
	if err := conf.FillDefault(&defaults); err != nil {
		t.Fatal(err)
	}
	got := ofOurs(mine)
	if !defaults.NonBlock { // before 1.9
		got.NonBlock, theirs.NonBlock = false, false
	}
	if !reflect.DeepEqual(got, *theirs) {
		t.Errorf("%s %s:\nread   %+v\nwanted %+v", file, path, got, *theirs)
	}
	if theirs.Etcd.HasTLS() {
		return // BuildTarget would read the files
	}
	target, err := theirs.BuildTarget()
	if err != nil {
		t.Fatal(err)
	}
	source, service, err := gozeroconf.ParseTarget(target)
	// Targets do not carry accounts.
	account := theirs.Etcd.HasAccount() && len(theirs.Endpoints) == 0 && theirs.Target == ""
	said := mine.Source
	if before, after, ok := strings.Cut(said, "@"); ok && account {
		if said = "etcd://" + after; before != "etcd://"+url.UserPassword(theirs.Etcd.User, theirs.Etcd.Pass).String() {
			t.Errorf("%s %s: the account is not in %s", file, path, mine.Source)
		}
	} else if account {
		t.Errorf("%s %s: there is no account in %s", file, path, mine.Source)
	}
	if err != nil || source != said || service != mine.Service {
		t.Errorf("%s %s: go-zero's target %s is %s %s, %v; the file is %s %s", file, path, target, source, service, err, mine.Source, mine.Service)
	}
}

// known reports whether this version of go-zero knows a format: JSON5 is newer than the
// others.
func known(t *testing.T, ext string) bool {
	t.Helper()
	file := filepath.Join(t.TempDir(), "conf"+ext)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := conf.Load(file, &struct{}{})
	return err == nil || !strings.Contains(err.Error(), "unrecognized file type") || ext != ".json5"
}

// The files of client/gozero's tests mean to it what they mean to go-zero.
func TestFilesAsGoZeroReadsThem(t *testing.T) {
	const dir = "../../client/gozero/testdata/"
	t.Setenv("SHOP_ETCD", "10.1.1.1:2379")
	t.Setenv("SHOP_KEY", "env.rpc")
	var shop struct {
		Name      string
		Etcd      discov.EtcdConf
		OrdersRpc zrpc.RpcClientConf
		UsersRpc  zrpc.RpcClientConf
		Inner     struct{ StockRpc zrpc.RpcClientConf }
		PayRpc    zrpc.RpcClientConf
		Upstreams []gateway.Upstream
		EnvRpc    zrpc.RpcClientConf
	}
	err := conf.Load(dir+"shop.yaml", &shop, conf.UseEnv())
	if err != nil {
		t.Fatal(err)
	}
	for path, theirs := range map[string]*zrpc.RpcClientConf{
		"OrdersRpc": &shop.OrdersRpc, "UsersRpc": &shop.UsersRpc, "Inner.StockRpc": &shop.Inner.StockRpc, "PayRpc": &shop.PayRpc,
		"Upstreams[0].Grpc": shop.Upstreams[0].Grpc, "Upstreams[1].Grpc": shop.Upstreams[1].Grpc, "EnvRpc": &shop.EnvRpc,
	} {
		compare(t, dir+"shop.yaml", path, theirs, nil)
	}
	for _, file := range []string{"shop.json", "shop.json5", "shop.toml"} {
		if !known(t, filepath.Ext(file)) {
			continue
		}
		var c struct{ OrdersRpc zrpc.RpcClientConf }
		err := conf.Load(dir+file, &c)
		compare(t, dir+file, "OrdersRpc", &c.OrdersRpc, err)
	}
	var server zrpc.RpcServerConf
	if err := conf.Load(dir+"orders.yaml", &server); err != nil {
		t.Fatal(err)
	}
	mine, err := gozeroconf.ReadServer(dir+"orders.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	if mine.Name != server.Name || mine.ListenOn != server.ListenOn || mine.Timeout != time.Duration(server.Timeout)*time.Millisecond ||
		mine.Health != server.Health || !reflect.DeepEqual(etcdOfOurs(mine.Etcd), server.Etcd) {
		t.Errorf("the server is read as %+v, wanted %+v", mine, server)
	}
}

// Blocks as people write them, in all formats: what go-zero reads we read alike, and what
// it refuses we refuse, or need not understand.
func TestBlocksAsGoZeroReadsThem(t *testing.T) {
	for _, c := range []struct {
		ext, content string
		refused      bool
	}{
		{ext: ".yaml", content: "Rpc: {Etcd: {Hosts: [a:1, b:2], Key: k}}"},
		{ext: ".yaml", content: "rpc: {etcd: {hosts: [a:1], key: k, user: u, pass: 'p#/@:'}}"},
		{ext: ".yaml", content: "RPC: {Endpoints: ['[::1]:1', localhost:2], Target: 'k8s://a/b:1', Etcd: {Hosts: [a:1], Key: k}}"},
		{ext: ".yaml", content: "Rpc:\n  Target: k8s://ns/web:8080\n  Timeout: 0\n  NonBlock: no\n  KeepaliveTime: 1m30s\n"},
		{ext: ".yaml", content: "Rpc: {Target: 'discov://h:1/k', Middlewares: {Trace: off, Timeout: on}}"},
		{ext: ".yaml", content: "Rpc: {Endpoints: '[\"a:1\",\"b:2\"]'}"},
		{ext: ".yaml", content: "Rpc: {Endpoints: [], Target: 'direct:///a:1'}"},
		{ext: ".yaml", content: "Rpc: {Endpoints: [80, a:1]}"},
		{ext: ".yaml", content: "Base: &b {Hosts: [a:1]}\nRpc: {Etcd: {<<: *b, Key: k}}"},
		{ext: ".yaml", content: "Etcd: {Hosts: [a:1], Key: parent, User: u, Pass: p}\nRpc: {Timeout: 1}"},
		{ext: ".yaml", content: "Etcd: {Hosts: [a:1]}\nRpc: {Etcd: {Key: k}}"},
		{ext: ".yaml", content: "Etcd: {Hosts: [a:1], Key: parent}\nRpc: {Endpoints: [b:1]}"},
		{ext: ".yaml", content: "Rpc: {Target: 'direct:///a:1', Token: }"},
		{ext: ".yaml", content: "Rpc: {Target: 'direct:///a:1', Unknown: {x: y}}\nOther: [1, 2]"},
		{ext: ".yaml", content: "Rpc: {Target: 'direct:///a:1', Token: '${TOKEN}', App: $APP}"},
		{ext: ".json", content: `{"Rpc": {"Etcd": {"Hosts": ["a:1"], "Key": "k", "ID": 9007199254740993}}}`},
		{ext: ".json", content: `{"Rpc": {"Target": "direct:///a:1", "KeepaliveTime": "1.5s", "Timeout": 9000000000}}`},
		{ext: ".json", content: `{"Rpc": {"Target": "direct:///a:1", "KeepaliveTime": 1500000000}}`, refused: true},
		{ext: ".json", content: `{"Rpc": {"Target": "direct:///a:1", "App": null}}`},
		{ext: ".json5", content: `{Rpc: {Etcd: {Hosts: ['a:1',], Key: "k\u0041", ID: +5}, Timeout: 2000,}} // end`},
		{ext: ".json5", content: "{Rpc: {Target: 'direct:///a\\\n:1', Token: 'a\\'b\"'}}"},
		{ext: ".toml", content: "[Rpc]\nTimeout = 1_000\nTarget = 'k8s://a/b'\n[Rpc.Middlewares]\nTrace = false\n"},
		{ext: ".toml", content: "Rpc = {Etcd = {Hosts = ['a:1'], Key = \"\"\"\nk\"\"\"}}"},
		{ext: ".yaml", content: "Rpc: {Target: 5}", refused: true},
		{ext: ".yaml", content: "Rpc: {Target: 'direct:///a:1', Timeout: 2s}", refused: true},
		{ext: ".yaml", content: "Rpc: {Target: 'direct:///a:1', Timeout: 1.5}", refused: true},
		{ext: ".yaml", content: "Rpc: {Target: 'direct:///a:1', NonBlock: 1}", refused: true},
		{ext: ".yaml", content: "Rpc: {Target: 'direct:///a:1', KeepaliveTime: soon}", refused: true},
		{ext: ".yaml", content: "Rpc: {Etcd: {Hosts: [a:1], Key: k, Pass: 123}}", refused: true},
		{ext: ".yaml", content: "Rpc: {Etcd: {Hosts: [a:1], Key: k, CertFile: c}}", refused: true},
		{ext: ".yaml", content: "Rpc: {Etcd: {Key: k}}", refused: true},
		{ext: ".yaml", content: "Rpc: {Etcd: {Hosts: a:1, Key: k}}", refused: true},
		{ext: ".yaml", content: "Rpc: {", refused: true},
		{ext: ".json5", content: "{Rpc: {Target: x}}", refused: true},
		{ext: ".json5", content: "{Rpc: {Target: 'direct:///a:1', Timeout: Infinity}}", refused: true},
		{ext: ".toml", content: "Rpc = {", refused: true},
	} {
		if !known(t, c.ext) {
			continue
		}
		file := filepath.Join(t.TempDir(), "conf"+c.ext)
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		var theirs struct {
			Etcd struct {
				Hosts           []string `json:",optional"`
				Key, User, Pass string   `json:",optional"`
			} `json:",optional"`
			Rpc zrpc.RpcClientConf
		}
		err := conf.Load(file, &theirs, conf.UseEnv())
		if !c.refused {
			compare(t, file, "Rpc", &theirs.Rpc, err)
			continue
		}
		if _, err2 := gozeroconf.ReadClient(file, "Rpc", gozeroconf.UseEnv()); err == nil || err2 == nil {
			t.Errorf("%s: go-zero says %v, we say %v", c.content, err, err2)
		}
	}
}
