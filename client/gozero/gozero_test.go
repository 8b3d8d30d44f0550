package gozero

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skerryhq/skerry/client"
	_ "github.com/skerryhq/skerry/client/etcd"
)

func TestReadClient(t *testing.T) {
	const file = "testdata/shop.yaml"
	t.Setenv("SHOP_ETCD", "10.1.1.1:2379,10.1.1.2:2379")
	t.Setenv("SHOP_KEY", "env.rpc")
	for _, c := range []struct {
		file, path, source, service string
		opts                        []Option
	}{
		{file, "OrdersRpc", "etcd://shop:p%40ss%2Fw%3Ard@10.0.0.1:2379,10.0.0.2:2379/?layout=gozero", "orders.rpc", nil},
		{file, "ordersrpc", "etcd://shop:p%40ss%2Fw%3Ard@10.0.0.1:2379,10.0.0.2:2379/?layout=gozero", "orders.rpc", nil},
		{file, "UsersRpc", "etcd://10.9.0.1:2379/?ca=%2Fetc%2Fpki%2Fca.pem&cert=%2Fetc%2Fpki%2Fclient.pem&key=%2Fetc%2Fpki%2Fclient.key&layout=gozero&skip-verify=true", "users/v2", nil},
		{file, "Inner.StockRpc", "direct:///10.0.1.1:8080,10.0.1.2:8080", "10.0.1.1:8080,10.0.1.2:8080", nil},
		{file, "PayRpc", "k8s:///", "prod/pay:grpc", nil},
		// Not the account of the file: go-zero inherits nothing through a list.
		{file, "Upstreams[0].Grpc", "etcd://10.0.0.1:2379/?layout=gozero", "hello.rpc", nil},
		{file, "Upstreams[1].Grpc", "etcd://10.0.0.1:2379,10.0.0.2:2379/?layout=gozero", "bye.rpc", nil},
		{file, "EnvRpc", "etcd://shop:p%40ss%2Fw%3Ard@${SHOP_ETCD}/?layout=gozero", "$SHOP_KEY", nil},
		{file, "EnvRpc", "etcd://shop:p%40ss%2Fw%3Ard@10.1.1.1:2379,10.1.1.2:2379/?layout=gozero", "env.rpc", []Option{UseEnv()}},
		{"testdata/shop.json5", "OrdersRpc", "etcd://10.0.0.1:2379,10.0.0.2:2379/?layout=gozero", "orders.rpc", nil},
		{"testdata/shop.toml", "OrdersRpc", "etcd://10.0.0.1:2379/?layout=gozero", "orders.rpc", nil},
		{"testdata/shop.json", "OrdersRpc", "etcd://10.0.0.1:2379/?layout=gozero", "orders.rpc", nil},
	} {
		conf, err := ReadClient(c.file, c.path, c.opts...)
		if err != nil {
			t.Errorf("%s %s: %v", c.file, c.path, err)
			continue
		}
		if conf.Source != c.source || conf.Service != c.service {
			t.Errorf("%s %s: %s %s\nwant %s %s", c.file, c.path, conf.Source, conf.Service, c.source, c.service)
		}
		if _, err := client.ParseLocation(conf.Source); err != nil {
			t.Error(err)
		}
	}
}

func TestClientValues(t *testing.T) {
	conf, err := ReadClient("testdata/shop.yaml", "OrdersRpc")
	if err != nil {
		t.Fatal(err)
	}
	if !conf.NonBlock || conf.Timeout != 2*time.Second || conf.KeepaliveTime != 0 || conf.BalancerName != "p2c_ewma" ||
		conf.Middlewares != (ClientMiddlewares{true, true, true, true, true}) {
		t.Errorf("the defaults are %+v", conf)
	}
	if conf, err = ReadClient("testdata/shop.yaml", "UsersRpc"); err != nil {
		t.Fatal(err)
	}
	if conf.NonBlock || conf.Timeout != 500*time.Millisecond || conf.KeepaliveTime != 20*time.Second || conf.BalancerName != "consistent_hash" ||
		conf.App != "shop" || conf.Token != "t0ken" || conf.Middlewares != (ClientMiddlewares{true, true, true, false, true}) {
		t.Errorf("read %+v", conf)
	}
	for file, want := range map[string]time.Duration{"testdata/shop.json5": 2 * time.Second, "testdata/shop.toml": 3 * time.Second} {
		if conf, err = ReadClient(file, "OrdersRpc"); err != nil || conf.Timeout != want {
			t.Errorf("%s: %+v, %v", file, conf, err)
		}
	}
}

func TestReadServer(t *testing.T) {
	t.Setenv("POD_IP", "10.7.7.7")
	conf, err := ReadServer("testdata/orders.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	if conf.Name != "orders.rpc" || conf.ListenOn != "0.0.0.0:8080" || conf.Address != "10.7.7.7:8080" || conf.Timeout != 0 || !conf.Health ||
		conf.Source != "etcd://127.0.0.1:2379/?layout=gozero" || conf.Service != "orders.rpc" {
		t.Errorf("read %+v", conf)
	}
	if i := conf.Instance(); i.ID != "7587880201467903757" || i.Service != "orders.rpc" || i.Address != conf.Address {
		t.Errorf("the instance is %+v", i)
	}
	c, err := conf.Open(client.WithCacheDir(""))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	alone := write(t, "a.yaml", "ListenOn: 127.0.0.1:1\nHealth: false")
	conf, err = ReadServer(alone, "")
	if err != nil || conf.Source != "" || conf.Address != "127.0.0.1:1" || conf.Health {
		t.Errorf("without Etcd: %+v, %v", conf, err)
	}
	if _, err := conf.Open(); err == nil || !strings.Contains(err.Error(), "set Etcd") {
		t.Errorf("opened what is not there: %v", err)
	}
}

func TestAdvertised(t *testing.T) {
	for _, c := range []struct{ listenOn, pod, internal, want string }{
		{"10.0.0.1:80", "10.7.7.7", "10.8.8.8", "10.0.0.1:80"},
		{"0.0.0.0:80", "10.7.7.7", "10.8.8.8", "10.7.7.7:80"},
		{":80", "10.7.7.7", "10.8.8.8", "10.7.7.7:80"},
		{":80", "", "10.8.8.8", "10.8.8.8:80"},
		{"0.0.0.0:80", "", "", "0.0.0.0:80"},
		{"orders.local:80", "10.7.7.7", "", "orders.local:80"},
	} {
		got := advertised(c.listenOn, func(string) string { return c.pod }, func() string { return c.internal })
		if got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for target, want := range map[string][2]string{
		"direct:///10.0.0.1:80":                          {"direct:///10.0.0.1:80", "10.0.0.1:80"},
		"direct:///10.0.0.1:80,10.0.0.2:80":              {"direct:///10.0.0.1:80,10.0.0.2:80", "10.0.0.1:80,10.0.0.2:80"},
		"direct:///localhost:1,,[::1]:2,":                {"direct:///localhost:1,%5B::1%5D:2", "localhost:1,[::1]:2"},
		"etcd:///10.0.0.1:2379,10.0.0.2:2379?key=foo":    {"etcd://10.0.0.1:2379,10.0.0.2:2379/?layout=gozero", "foo"},
		"etcd:///localhost:2379?key=%2Fgrpc%2Fmy-orders": {"etcd://localhost:2379/?layout=gozero", "/grpc/my-orders"},
		"etcd://localhost:2379/orders.rpc":               {"etcd://localhost:2379/?layout=gozero", "orders.rpc"},
		"etcd://localhost:2379/grpc/orders":              {"etcd://localhost:2379/?layout=gozero", "grpc/orders"},
		"etcd://h1:2379,h2:2379,h3:2379/orders.rpc":      {"etcd://h1:2379,h2:2379,h3:2379/?layout=gozero", "orders.rpc"},
		"discov://h1:2379,h2:2379/orders.rpc":            {"etcd://h1:2379,h2:2379/?layout=gozero", "orders.rpc"},
		"discov:///h1:2379,h2:2379?key=orders.rpc":       {"etcd://h1:2379,h2:2379/?layout=gozero", "orders.rpc"},
		"k8s://prod/orders:8080":                         {"k8s:///", "prod/orders:8080"},
		"k8s://prod/orders:grpc":                         {"k8s:///", "prod/orders:grpc"},
		"k8s://prod/orders":                              {"k8s:///", "prod/orders"},
		"k8s://prod/orders:0":                            {"k8s:///", "prod/orders:0"},
		"k8s://prod/orders:":                             {"k8s:///", "prod/orders"},
		"k8s:///orders:8080":                             {"k8s:///", "default/orders:8080"},
		"k8s:///orders?server=http://127.0.0.1:1&x=y":    {"k8s:///?server=http%3A%2F%2F127.0.0.1%3A1", "default/orders"},
		"consul://h1:8500,h2:8500/orders":                {"consul://h1:8500,h2:8500/", "orders"},
		"consul://h/orders.rpc?tag=a&tag=b&dc=x&token=t&wait=14s&near=n&healthy=false":         {"consul://h/?dc=x&passing=false&tag=a&tag=b&token=t", "orders.rpc"},
		"consul://h/orders?insecure=true":                                                      {"consul://h/?skip-verify=true&tls=true", "orders"},
		"nacos://u:p@h1:8848,h2:8848/orders?timeout=5s&namespaceid=n&groupName=g&clusters=a,b": {"nacos://u:p@h1:8848,h2:8848/?cluster=a%2Cb&group=g&namespace=n", "orders"},
	} {
		source, service, err := ParseTarget(target)
		if err != nil || [2]string{source, service} != want {
			t.Errorf("%s: %q, %q, %v; want %q", target, source, service, err, want)
		}
	}
	for target, want := range map[string]string{
		"":                                    "no scheme",
		"orders.rpc":                          "no scheme",
		"consul://h/":                         "names no service",
		"consul:///orders":                    "names no host",
		"consul://u:secret@h/orders":          "take a token",
		"nacos://u:secret@/orders":            "names no host",
		"nacos://u:secret@h/a/b":              "names no service",
		"direct:///":                          "names no address",
		"direct://10.0.0.1:80":                "names no address",
		"etcd:///h1:2379":                     "names no key",
		"etcd://h1:2379/":                     "names no key",
		"etcd:///?key=orders":                 "names no host",
		"etcd:///secret@h?key=orders":         "not host:port",
		"k8s://prod/":                         "want k8s://",
		"k8s://prod/a/b":                      "want k8s://",
		"etcd:///h1?key=%zz&password=secret":  "query",
		"etcd:///%zz?key=orders&pass=secret":  "path",
		"unknown-scheme://user:secret@h/path": "want one of",
	} {
		if source, service, err := ParseTarget(target); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q, %q, %v; want %q", target, source, service, err, want)
		}
	}
}

// A long list has a name that a file can have, and another list another.
func TestLongList(t *testing.T) {
	list := func(last string) []string { return append(slices.Repeat([]string{"10.100.100.100:8080"}, 40), last) }
	_, one, err1 := direct(list("a:1"))
	_, two, err2 := direct(list("a:2"))
	if err1 != nil || err2 != nil || one == two || len(url.PathEscape(one)) > longestName {
		t.Errorf("%q %q %v %v", one, two, err1, err2)
	}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ name, content, path, want string }{
		{"a.yaml", "A: {Etcd: {Hosts: [h:1], Key: k}}", "B", "there is no block B; beside it are: A"},
		{"a.yaml", "A: {B: {}}", "A.C", "there is no block A.C"},
		{"a.yaml", "A: [{}]", "A[1]", "the list has 1 elements"},
		{"a.yaml", "A: {}", "A[0].Grpc", "the list has 0 elements"},
		{"a.yaml", "A: 1", "A", "is no block"},
		{"a.yaml", "A: 1", "A[x]", "want one such as"},
		{"a.yaml", "A: 1", ".A", "want one such as"},
		{"a.yaml", "A: 1", "A[0]b", "want one such as"},
		{"a.yaml", "[1]", "", "no block"},
		{"a.ini", "", "", `the ending ".ini"`},
		{"a.yaml", "Target: x\n Pass: *secret", "", "no YAML"},
		{"a.yaml", "Pass: *secret", "", "no YAML"},
		{"a.json", "{\n\"Pass\": secret}", "", "line 2: it is no JSON"},
		{"a.json", "{", "", "no JSON"},
		{"a.json5", "{\n\nPass: secret}", "", "line 3: it is no JSON5"},
		{"a.toml", "Pass = secret", "", "line 1: it is no TOML"},
		{"a.toml", "a = inf", "", "no TOML with numbers that are finite"},
		{"a.yaml", "Pass: secret", "", "the service has no address"},
		{"a.yaml", "Endpoints: [1.5, {}]", "", "Endpoints: want a list of texts"},
		{"a.yaml", "Endpoints: 3", "", "Endpoints: want a list of texts"},
		{"a.yaml", "Endpoints: secret", "", "Endpoints: want a list of texts"},
		{"a.yaml", `Endpoints: [""]`, "", "all empty"},
		{"a.yaml", "Target: 5", "", "Target: want text"},
		{"a.yaml", "Target: mailto:secret", "", "no scheme"},
		{"a.yaml", "Target: direct:///a:1\ntarget: direct:///b:1", "", "twice: as Target and as target"},
		{"a.yaml", "Target: direct:///a:1\nTimeout: 2s", "", "Timeout: want a whole number"},
		{"a.yaml", "Target: direct:///a:1\nTimeout: 1.5", "", "Timeout: want a whole number"},
		{"a.yaml", "Target: direct:///a:1\nTimeout: 9223372036854775807", "", "Timeout: want milliseconds"},
		{"a.yaml", "Target: direct:///a:1\nKeepaliveTime: soon", "", "KeepaliveTime: want a time"},
		{"a.yaml", "Target: direct:///a:1\nKeepaliveTime: 20", "", "KeepaliveTime: want a time"},
		{"a.yaml", "Target: direct:///a:1\nNonBlock: 1", "", "NonBlock: want true or false"},
		{"a.yaml", "Target: direct:///a:1\nMiddlewares: 1", "", "Middlewares: want a block"},
		{"a.yaml", "Target: direct:///a:1\nMiddlewares: {Trace: secret}", "", "Trace: want true or false"},
		{"a.yaml", "Etcd: {Hosts: [h:1]}", "", "Etcd.Key is empty"},
		{"a.yaml", "Etcd: {Hosts: [h:1], Key: k, User: u, Pass: 123456}", "", "Etcd: Pass: want text"},
		{"a.yaml", "Etcd: {Hosts: [h:1], Key: k, CertFile: c}", "", "belong together"},
		{"a.yaml", "Etcd: {Hosts: ['http://u:secret@h:1'], Key: k}", "", "not host:port"},
	} {
		if _, err := ReadClient(write(t, c.name, c.content), c.path); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "123456") {
			t.Errorf("%q %q: %v; want %q", c.content, c.path, err, c.want)
		}
	}
	if _, err := ReadClient(filepath.Join(t.TempDir(), "none.yaml"), ""); err == nil {
		t.Error("read a file that is not there")
	}
	if _, err := ReadServer(write(t, "a.yaml", "Name: x"), ""); err == nil || !strings.Contains(err.Error(), "ListenOn is empty") {
		t.Errorf("a server without ListenOn: %v", err)
	}
}

func TestJSON5(t *testing.T) {
	for text, want := range map[string]string{
		`{a:'x\'y\u0041\x42\
z', "b":[1,.5,5.,-0x1F,+1e3,5.e1,],}`: `{"a":"x'yABz","b":[1,0.5,5,-31,1e3,5e1]}`,
		"// c\n{/* d */$_ä9: null, // e\n true: false}": `{"$_ä9":null,"true":false}`,
		`{a:"\ud83d\ude00\ud83d\q\0"}`:                  "{\"a\":\"😀\ufffdq\\u0000\"}",
	} {
		got, err := readJSON5([]byte(text))
		want, err2 := readJSON([]byte(want))
		if err != nil || err2 != nil || !equal(got, want) {
			t.Errorf("%s: %v, %v, %v; want %v", text, got, err, err2, want)
		}
	}
	for _, text := range []string{
		"", "{", "{a}", "{a:}", "{a:1 b:2}", "{,}", "[,]", "[1", "'a", "'a\nb'", `'\1'`, `'\u12'`, `'\x+1'`, "{1a:1}", "Infinity", "-NaN", "0x", "0x_1",
		"01", "1_0", ".", "+", "--1", "{} {}", "/* a", "tru", strings.Repeat("[", 2000),
	} {
		if got, err := readJSON5([]byte(text)); err == nil {
			t.Errorf("%.20q is read as %v", text, got)
		}
	}
}
