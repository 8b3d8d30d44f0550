package union_test

import (
	"context"
	"fmt"

	"github.com/skerryhq/skerry/client"
	_ "github.com/skerryhq/skerry/client/union"
)

// The instances of two registries are one list.
func Example() {
	c, err := client.Open("union:///?of=direct:///10.0.0.1:80,10.0.0.2:80&of=direct:///10.0.0.2:80,10.0.0.3:80", client.WithCacheDir(""))
	if err != nil {
		panic(err)
	}
	defer c.Close()
	for s := range c.Watch(context.Background(), "orders") {
		for _, i := range s.Instances {
			fmt.Println(i.Address)
		}
		break
	}
	// Output:
	// 10.0.0.1:80
	// 10.0.0.2:80
	// 10.0.0.3:80
}
