package skerryhttp_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/skerryhq/skerry/client"
	skerryhttp "github.com/skerryhq/skerry/client/http"
)

func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "order 17") }))
	defer server.Close()

	// With a registry: client.Open("skerry://127.0.0.1:8500")
	c, err := client.Open("direct:///"+strings.TrimPrefix(server.URL, "http://"), client.WithCacheDir(""))
	if err != nil {
		panic(err)
	}
	defer c.Close()
	t := skerryhttp.NewTransport(c)
	defer t.Close()
	resp, err := (&http.Client{Transport: t}).Get("http://orders/v1/orders/17")
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	fmt.Println(string(b))
	// Output: order 17
}
