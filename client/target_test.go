package client

import (
	"reflect"
	"strings"
	"testing"
)

func TestSplitTarget(t *testing.T) {
	for target, want := range map[string][2]string{
		"skerry://127.0.0.1:8500/orders":                       {"skerry://127.0.0.1:8500/", "orders"},
		"skerry://127.0.0.1:8500/orders?token=T":               {"skerry://127.0.0.1:8500/?token=T", "orders"},
		"etcd://u:p@h1:2379,h2:2379/orders.rpc":                {"etcd://u:p@h1:2379,h2:2379/", "orders.rpc"},
		"etcd:///h1:2379,h2:2379/prod/orders.rpc?layout=x":     {"etcd://h1:2379,h2:2379/prod?layout=x", "orders.rpc"},
		"etcd:///orders.rpc":                                   {"etcd:///", "orders.rpc"},
		"zookeeper://h1:2181,h2:2181/services/orders":          {"zookeeper://h1:2181,h2:2181/services", "orders"},
		"zookeeper:///services/orders":                         {"zookeeper:///services", "orders"},
		"k8s://prod/orders:grpc":                               {"k8s://prod/", "orders:grpc"},
		"k8s:///orders:8080":                                   {"k8s:///", "orders:8080"},
		"dns://127.0.0.1:53/web.service.consul":                {"dns://127.0.0.1:53/", "web.service.consul"},
		"direct:///10.0.0.1:80,10.0.0.2:80":                    {"direct:///10.0.0.1:80,10.0.0.2:80", "direct"},
		"union:///orders?of=skerry://a:1/&of=etcd://b:1/pre/x": {"union:///?of=skerry://a:1/&of=etcd://b:1/pre/x", "orders"},
	} {
		source, service, err := SplitTarget(target)
		if err != nil || [2]string{source, service} != want {
			t.Errorf("%s: %q, %q, %v; want %q", target, source, service, err, want)
		}
		if _, err := ParseLocation(source); err != nil {
			t.Error(err)
		}
	}
	for _, target := range []string{"", "orders", "://orders", "skerry://u:secret@h:8500", "skerry://h:8500/?token=secret", "etcd:///h1:1,h2:1/"} {
		if source, service, err := SplitTarget(target); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q, %q, %v", target, source, service, err)
		}
	}
}

// A location's URL means the same location.
func FuzzLocation(f *testing.F) {
	for _, raw := range []string{"skerry://me:p%40w@a:1,b:2/dc1?token=T&x=1", "direct:///10.0.0.1:80,10.0.0.2:80", "k8s://prod/orders:grpc", "union:///?of=skerry://a:1/", "etcd://h//a%2Fb/%3F?x"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		l, err := ParseLocation(raw)
		if err != nil {
			return
		}
		again, err := ParseLocation(l.URL())
		if err != nil || !reflect.DeepEqual(l, again) {
			t.Errorf("%q is %#v; its URL, %q, is %#v, %v", raw, l, l.URL(), again, err)
		}
	})
}
