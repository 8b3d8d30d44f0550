package kubernetes_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/skerryhq/skerry/client"
	_ "github.com/skerryhq/skerry/client/kubernetes"
)

// A program follows a service's pods. Here the API server is a page that never changes;
// in a pod the URL is "k8s:///".
func Example() {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("watch") {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		fmt.Fprint(w, `{"metadata":{"resourceVersion":"1"},"items":[{
			"metadata":{"name":"orders-x1","resourceVersion":"1"},"addressType":"IPv4",
			"ports":[{"name":"grpc","port":9000,"protocol":"TCP"}],
			"endpoints":[{"addresses":["10.1.2.3"],"conditions":{"ready":true},"zone":"a","targetRef":{"kind":"Pod","name":"orders-0"}}]}]}`)
	}))
	defer api.Close()

	c, err := client.Open("k8s://prod/?server="+api.URL, client.WithCacheDir(""))
	if err != nil {
		panic(err)
	}
	defer c.Close()
	for s := range c.Watch(context.Background(), "orders:grpc") {
		fmt.Println(s.Freshness, s.Instances[0].ID, s.Instances[0].Address, s.Instances[0].Zone)
		break
	}
	// Output: live orders-0 10.1.2.3:9000 a
}
