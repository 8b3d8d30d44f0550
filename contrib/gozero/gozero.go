// Package gozero gives an unmodified go-zero program this module's client, by one blank
// import in its main package:
//
//	import _ "github.com/skerryhq/skerry/contrib/gozero"
//
// Its YAML, its dial options and its calls stay as they are. The import replaces the
// resolvers of Etcd and of targets etcd://, discov://, direct://, k8s:// and consul://,
// and the balancer p2c_ewma. Where a program imports a contributed resolver of Consul
// too, the one that is made last wins. Targets of Nacos stay that resolver's;
// client/gozero reads them for programs that open client/nacos, which is a module of its
// own.
//
//   - A list that is known is never lost to a failure. While etcd is dead, or back
//     without its data, the last good list stays; a program that starts meanwhile takes
//     the list from the disk ($SKERRY_CACHE_DIR, else skerry in the user's cache folder).
//     Plain go-zero does not start without etcd, and empties its list with etcd's data.
//   - Instances that fail, be it fast, or are slow get next to nothing, and are let in again
//     when they answer grpc.health, which go-zero's servers serve. With Health: false,
//     that they take connections must do.
//   - Kubernetes: all EndpointSlices of a service, pods that are ready, ports by name too.
//   - BalancerName: consistent_hash stays go-zero's, over our list.
//   - The accounts and certificates of Etcd blocks are used as they are.
//
// # What stays go-zero's
//
// Dial options are the program's. So connections are pinged only if KeepaliveTime
// says so, and a server that was down for long is tried again after up to two
// minutes, unless it was gone from the list in between.
//
// Servers are not changed. Told to stop by SIGTERM, zrpc's withdraws its key, serves
// for one second more, reports NOT_SERVING and ends the calls under way; 5.5 s after the
// signal the process ends. Callers with this import hear of the withdrawal at once
// and leave the connection without failing a call. A blank import cannot make that second
// longer: a server sets it from its configuration when it is made, after all init functions. Where
// callers hear late, as by Kubernetes, the server's YAML can:
//
//	Shutdown: {WrapUpTime: 5s, WaitTime: 15s}
//
// A process that dies without withdrawing is noticed by its connections at once, and
// leaves the list with its lease.
//
// A server that starts registers itself before it listens, a moment too early. Callers
// with this import try it, get no connection, and call the others.
//
// # See it
//
// The lists, and why calls go where they go, are among the metrics that go-zero serves
// (skerry_client_…), and [Clients] is for the page of package client/debug.
package gozero

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/resolver"

	// Its resolvers and its balancer are registered before ours: the last ones win.
	_ "github.com/zeromicro/go-zero/zrpc"

	"github.com/skerryhq/skerry/client"
	_ "github.com/skerryhq/skerry/client/consul"
	_ "github.com/skerryhq/skerry/client/etcd"
	gozeroconf "github.com/skerryhq/skerry/client/gozero"
	skerrygrpc "github.com/skerryhq/skerry/client/grpc"
	_ "github.com/skerryhq/skerry/client/kubernetes"
	skerryprometheus "github.com/skerryhq/skerry/client/prometheus"
)

var clients client.Group

// Clients are the clients of the program's zrpc connections, by the URLs of their
// sources.
func Clients() *client.Group { return &clients }

func init() {
	skerrygrpc.RegisterBalancer("p2c_ewma")
	prometheus.MustRegister(skerryprometheus.NewCollector(&clients))
	shown := skerrygrpc.WithOpened(clients.Add)
	logs := client.WithLogger(slog.New(&logs{}))
	for _, scheme := range []string{"etcd", "discov"} {
		resolver.Register(skerrygrpc.NewTargetBuilder(scheme, skerrygrpc.WithSplit(splitEtcd), skerrygrpc.WithClient(logs), shown))
	}
	for _, scheme := range []string{"k8s", "consul"} {
		resolver.Register(skerrygrpc.NewTargetBuilder(scheme, skerrygrpc.WithSplit(gozeroconf.ParseTarget), skerrygrpc.WithClient(logs), shown))
	}
	// The program's own metrics need not be kept.
	resolver.Register(skerrygrpc.NewTargetBuilder("direct", skerrygrpc.WithSplit(gozeroconf.ParseTarget),
		skerrygrpc.WithClient(logs, client.WithCacheDir("")), shown))
}
