package etcd_test

import (
	"context"
	"fmt"
	"log"

	"github.com/skerryhq/skerry/client"
	_ "github.com/skerryhq/skerry/client/etcd"
)

// A program finds what go-zero's servers registered. It starts although etcd does not
// answer, and its list is then the one on disk.
func Example() {
	c, err := client.Open("etcd://127.0.0.1:1,127.0.0.1:2/", client.WithCacheDir(""))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for s := range c.Watch(ctx, "orders.rpc") {
		fmt.Println(s.Freshness, s.Instances)
	}
	fmt.Println("started")
	// Output: started
}
