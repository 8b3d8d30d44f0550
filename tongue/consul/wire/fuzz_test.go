package wire_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// FuzzRegistration decodes hostile bodies of registrations: each becomes a registration
// whose shape can be encoded, or an error that is Consul's or the decoder's.
func FuzzRegistration(f *testing.F) {
	f.Add([]byte(`{"Name":"web","Port":80,"Tags":["a"],"Check":{"HTTP":"http://x","Interval":"10s","Timeout":1e9}}`))
	f.Add([]byte(`{"Name":"web","Proxy":{"Upstreams":[{"destination_name":"x"}]},"Weights":{"Passing":0},"Ports":[{"Name":"a"}]}`))
	f.Add([]byte(`{"Name":"web","Checks":[null,{"Script":"true","TTL":"1s"}],"Meta":{"":""},"Connect":{"Native":true}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, legacy := range []bool{false, true} {
			var body wire.ServiceBody
			if err := wire.One.Decode(b, &body); err != nil {
				var known *wire.Error
				if !errors.As(wire.DecodeError(err), &known) {
					t.Fatalf("%v is not answered in Consul's form", err)
				}
				return
			}
			r, err := body.Registration(legacy)
			if err != nil {
				continue
			}
			if r.Instance.Service == "" || len(r.Checks) > len(body.Checks)+1 {
				t.Fatalf("%+v", r)
			}
			e := skerry.Entry{Node: &skerry.Node{Name: "n"}, Instance: r.Instance}
			if _, err := json.Marshal(wire.EntryOf(&e)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
