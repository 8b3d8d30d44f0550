package zookeeper_test

import (
	"context"
	"fmt"
	"log"

	"github.com/skerryhq/skerry/client"
	_ "github.com/skerryhq/skerry/client/zookeeper"
)

// A program finds what Spring Cloud's services registered. It starts although ZooKeeper
// does not answer, and its list is then the one on disk.
func Example() {
	c, err := client.Open("zookeeper://127.0.0.1:1/services", client.WithCacheDir(""))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for s := range c.Watch(ctx, "orders") {
		fmt.Println(s.Freshness, s.Instances)
	}
	fmt.Println("started")
	// Output: started
}
