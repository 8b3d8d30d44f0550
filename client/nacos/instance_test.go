package nacos

import (
	"encoding/json"
	"math"
	"net"
	"testing"

	"github.com/nacos-group/nacos-sdk-go/v2/model"

	"github.com/skerryhq/skerry/client"
)

func TestWeight(t *testing.T) {
	for from, want := range map[float64]int{
		0: 0, -1: 0, 0.01: 1, 1: 1, 1.5: 2, 100: 100, 1e9: maxWeight, math.Inf(1): maxWeight, math.NaN(): 0,
	} {
		i, err := instance("orders", &model.Instance{Ip: "10.0.0.1", Port: 80, Weight: from, Healthy: true, Enable: true})
		if err != nil || i.Weight != want || i.Draining != (want == 0) {
			t.Errorf("weight %v is %d, draining %v, %v; want %d", from, i.Weight, i.Draining, err, want)
		}
	}
}

func TestAddressesOfIPv6(t *testing.T) {
	s := &Source{}
	entry, err := s.entry(&client.Instance{ID: "1", Address: "[::1]:80"})
	if err != nil || entry.Ip != "::1" || entry.Port != 80 || entry.Weight != 1 || entry.ClusterName != defaultCluster {
		t.Fatalf("%+v, %v", entry, err)
	}
	if i, err := instance("orders", &entry); err != nil || i.Address != "[::1]:80" || i.ID != "1" || i.Zone != "" || i.Draining {
		t.Errorf("%+v, %v", i, err)
	}
	if i, err := instance("orders", &model.Instance{Ip: "h", Port: 1, ClusterName: "c", ServiceName: "g@@orders"}); err != nil || i.ID != "h#1#c#g@@orders" {
		t.Errorf("without an ID: %+v, %v", i, err)
	}
}

// FuzzInstance: whatever Nacos lists is an instance with an ID and an address, or none,
// and says the same when it is registered and read again.
func FuzzInstance(f *testing.F) {
	f.Add([]byte(`{"ip":"10.0.0.1","port":80,"weight":1.5,"healthy":true,"enabled":true,"metadata":{"skerry.tags":"[\"a\"]","skerry.started":"2026-01-02T03:04:05Z"}}`))
	f.Add([]byte(`{"instanceId":"x","ip":"::1","port":65535,"weight":-1,"clusterName":"c","metadata":{"skerry.tags":"{}","skerry.started":"x","":""}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var from model.Instance
		if json.Unmarshal(data, &from) != nil {
			return
		}
		i, err := instance("orders", &from)
		if err != nil {
			return
		}
		if _, _, split := net.SplitHostPort(i.Address); split != nil || i.ID == "" || i.Weight < 0 || i.Weight > maxWeight {
			t.Fatalf("%+v from %s", i, data)
		}
		entry, err := (&Source{}).entry(&i)
		if err != nil {
			t.Fatalf("%+v cannot be registered: %v", i, err)
		}
		again, err := instance("orders", &entry)
		again.Draining, again.Weight = i.Draining, i.Weight // an operator's word, not the instance's
		if err != nil || !again.Equal(&i) {
			t.Errorf("%+v is read back as %+v, %v", i, again, err)
		}
	})
}
