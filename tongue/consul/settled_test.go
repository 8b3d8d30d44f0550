package consul_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/tongue/consul"
)

// While the catalog is not settled its reads wait and all else is answered.
func TestReadsWaitForASettledCatalog(t *testing.T) {
	settled := make(chan struct{})
	front, err := consul.New(consul.Config{}, consul.Backend{
		Self: skerry.Self{Name: "n1", Datacenter: "dc1"}, Catalog: catalog.New(catalog.Config{FirstIndex: 1}), Settled: settled,
	}, consul.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(front)
	defer s.Close()
	get := func(path string) int {
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Error(err)
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	paths := []string{"/v1/health/service/web", "/v1/catalog/services", "/v1/catalog/nodes", "/v1/health/state/any"}
	answered := make(chan int, len(paths))
	for _, path := range paths {
		go func() { answered <- get(path) }()
	}
	if status := get("/v1/agent/version"); status != http.StatusOK {
		t.Errorf("the version: %d", status)
	}
	select {
	case status := <-answered:
		t.Errorf("a read was answered with %d", status)
	case <-time.After(50 * time.Millisecond):
	}
	close(settled)
	for range paths {
		if status := <-answered; status != http.StatusOK {
			t.Errorf("a read was answered with %d", status)
		}
	}
}
