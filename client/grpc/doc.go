// Package skerrygrpc lets gRPC programs call services by name and be found: a
// resolver over package client, the balancer "skerry_p2c", and a server's life from
// listening to the last call.
//
//	c, err := client.Open("skerry://127.0.0.1:8500")
//	…
//	conn, err := grpc.NewClient("skerry:///orders", append(skerrygrpc.DialOptions(c),
//		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
//
// and on the other side
//
//	s := grpc.NewServer(skerrygrpc.ServerOptions()...)
//	pb.RegisterOrdersServer(s, &orders{})
//	err = skerrygrpc.Serve(ctx, s, listener, c, client.Instance{Service: "orders"})
//
// The balancer takes the cheaper of two random instances (see package client/lb): slow
// and failing ones get next to nothing, and one that fails is out until probes by
// grpc.health succeed. The statistics of an instance outlive list updates and reconnects.
// It can be chosen without the rest of the package too, by its name in a service config.
//
// It is made of gRPC's endpointsharding and pick_first. endpointsharding is marked
// experimental: the tests of this package are what holds it to its ways.
package skerrygrpc
