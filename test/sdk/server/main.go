// Command server offers the service of the measurement, in one of three ways of being
// found: by a list that callers have (no -registry), registered through
// skerrygrpc.Serve (-registry skerry://… or etcd://…), or as a go-zero server in etcd
// (-gozero HOSTS). Lines of its standard input are faults; when that ends, so does it.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/core/discov"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/zrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/skerryhq/skerry/client"
	_ "github.com/skerryhq/skerry/client/consul"
	_ "github.com/skerryhq/skerry/client/etcd"
	skerrygrpc "github.com/skerryhq/skerry/client/grpc"
	"github.com/skerryhq/skerry/test/sdk/work"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address")
	workers := flag.Int("workers", 6, "calls at work at once")
	mean := flag.Duration("mean", 10*time.Millisecond, "mean time of work, exponential; 0: none")
	seed := flag.Uint64("seed", 1, "of the random choices")
	registry := flag.String("registry", "", "URL of a source to register with")
	name := flag.String("service", "work", "name to register")
	goZero := flag.String("gozero", "", "hosts of etcd: be a go-zero server")
	flag.Parse()
	logx.Disable()
	w := work.NewServer(*workers, *mean, *seed)
	go obey(w)
	var err error
	switch {
	case *goZero != "":
		err = serveGoZero(w, *listen, *name, strings.Split(*goZero, ","))
	default:
		err = serve(w, *listen, *name, *registry)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// obey takes faults from the standard input. The parent ends the server by closing it.
func obey(w *work.Server) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := w.Obey(lines.Text()); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
		}
	}
	os.Exit(0)
}

func serve(w *work.Server, listen, name, registry string) error {
	s := grpc.NewServer(skerrygrpc.ServerOptions()...)
	s.RegisterService(&work.Desc, w)
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	if registry == "" {
		healthpb.RegisterHealthServer(s, health.NewServer())
		fmt.Println(l.Addr())
		return s.Serve(l)
	}
	c, err := client.Open(registry, client.WithCacheDir(""))
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println(l.Addr())
	return skerrygrpc.Serve(context.Background(), s, l, c, client.Instance{Service: name})
}

// serveGoZero is a go-zero program: its configuration is what a file would give.
func serveGoZero(w *work.Server, listen, name string, hosts []string) error {
	var c zrpc.RpcServerConf
	if err := conf.FillDefault(&c); err != nil {
		return err
	}
	c.Name, c.ListenOn, c.Etcd, c.CpuThreshold = name, listen, discov.EtcdConf{Hosts: hosts, Key: name}, 0
	c.Middlewares = zrpc.ServerMiddlewaresConf{Recover: true}
	c.DevServer.Enabled = false // one port of the machine, for all servers
	s, err := zrpc.NewServer(c, func(s *grpc.Server) { s.RegisterService(&work.Desc, w) })
	if err != nil {
		return err
	}
	defer s.Stop()
	fmt.Println(listen)
	s.Start()
	return nil
}
