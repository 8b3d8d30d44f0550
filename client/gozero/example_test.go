package gozero_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/skerryhq/skerry/client"
	_ "github.com/skerryhq/skerry/client/etcd"
	"github.com/skerryhq/skerry/client/gozero"
)

// A program that has left zrpc finds by the file that it always had.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "shop.yaml")
	if err := os.WriteFile(file, []byte(`
Name: shop
OrdersRpc:
  Etcd:
    Hosts: [127.0.0.1:2379]
    Key: orders.rpc
`), 0o600); err != nil {
		panic(err)
	}
	conf, err := gozero.ReadClient(file, "OrdersRpc")
	if err != nil {
		panic(err)
	}
	fmt.Println(conf.Source, conf.Service, conf.Timeout)
	c, err := conf.Open(client.WithCacheDir(""))
	if err != nil {
		panic(err)
	}
	defer c.Close()
	// for s := range c.Watch(ctx, conf.Service) { … }

	// Output: etcd://127.0.0.1:2379/?layout=gozero orders.rpc 2s
}
