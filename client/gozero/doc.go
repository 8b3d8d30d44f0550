// Package gozero reads the configuration of go-zero programs as it is, and returns where
// this module's client finds the same services. It does not import go-zero: it is for
// programs that leave zrpc, or that never had it and live among others that do.
//
//	conf, err := gozero.ReadClient("etc/shop.yaml", "OrdersRpc")
//	…
//	c, err := conf.Open()
//	…
//	conn, err := grpc.NewClient("skerry:///"+conf.Service, skerrygrpc.DialOptions(c, skerrygrpc.WithForeignServers())...)
//
// and on the other side
//
//	conf, err := gozero.ReadServer("etc/orders.yaml", "")
//	…
//	c, err := conf.Open()
//	…
//	r, err := c.Register(conf.Instance())
//
// The source's package must be imported, as always: client/etcd for services in etcd,
// client/kubernetes for targets k8s://; "direct" is there.
//
// Files are .yaml, .yml, .json, .json5 and .toml. Capitals in keys do not matter. ${NAME}
// stands for an environment variable only with [UseEnv]. A block is named by its path
// in the file, such as "OrdersRpc", "Shop.OrdersRpc" or "Upstreams[0].Grpc"; "" is the
// file itself. A block Etcd takes what it lacks from the blocks Etcd of those around it,
// up to the nearest list, as go-zero does where the struct of the block around has a
// field Etcd.
//
// A program that stays with zrpc imports contrib/gozero instead, and reads its
// configuration as ever.
package gozero
