package nacos_test

import (
	"context"
	"fmt"
	"log"

	"github.com/skerryhq/skerry/client"
	_ "github.com/skerryhq/skerry/client/nacos"
)

// A program finds what is registered in Nacos. It starts although Nacos does not answer,
// and its list is then the one on disk.
func Example() {
	c, err := client.Open("nacos://127.0.0.1:1,127.0.0.1:2/?namespace=prod&group=shop", client.WithCacheDir(""))
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
