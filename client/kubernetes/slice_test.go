package kubernetes

import (
	"encoding/json"
	"net"
	"testing"

	"github.com/skerryhq/skerry/client"
)

// FuzzObject: whatever an object holds becomes instances with addresses, each once,
// or an error.
func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"metadata":{"name":"a","resourceVersion":"x"},"addressType":"IPv6","ports":[{"port":null}],"endpoints":[{"addresses":["::1"],"conditions":{"ready":null},"targetRef":{"kind":"Pod"}}]}`), 0)
	f.Add([]byte(`{"metadata":{"name":"a"},"subsets":[{"addresses":[{"ip":"10.0.0.1"},{"ip":"::1"}],"notReadyAddresses":[{"ip":"10.0.0.1"}],"ports":[{"port":1}]}]}`), 7)
	f.Fuzz(func(t *testing.T, data []byte, number int) {
		o := &object{}
		if json.Unmarshal(data, o) != nil {
			return
		}
		w, err := (&view{port: port{number: number & 0xffff}, service: "web", objects: map[string]*object{"a": o}}).union()
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, i := range w.instances {
			if _, _, err := net.SplitHostPort(i.Address); err != nil || seen[i.ID] || !w.present[i.ID] {
				t.Errorf("%+v of %s", i, data)
			}
			seen[i.ID] = true
		}
	})
}

// FuzzService: a name is that of a service whose path holds nothing else, or an error.
func FuzzService(f *testing.F) {
	f.Add("prod/web:http")
	f.Add("k8s:///web:0")
	f.Fuzz(func(t *testing.T, name string) {
		tgt, err := (&Source{namespace: "default"}).parse(name)
		if err == nil && (!label(tgt.namespace) || !label(tgt.service) || tgt.port.number > 65535) {
			t.Errorf("%q is %+v", name, tgt)
		}
	})
}

var _ client.Source = (*Source)(nil)
