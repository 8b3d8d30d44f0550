// Command etcd is one etcd on loopback, for the peers that need one: -dir, -peer and
// -listen. It ends when its standard input does.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

func main() {
	dir := flag.String("dir", "", "folder of its data")
	listen := flag.String("listen", "127.0.0.1:2379", "address for clients")
	peer := flag.String("peer", "127.0.0.1:2380", "address for members")
	name := flag.String("name", "m0", "of this member")
	initial := flag.String("cluster", "", "members, as name=http://address; default: this one")
	flag.Parse()
	if *initial == "" {
		*initial = *name + "=http://" + *peer
	}
	if err := run(*dir, *name, *listen, *peer, *initial); err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		os.Exit(1)
	}
}

func run(dir, name, listen, peer, initial string) error {
	conf := embed.NewConfig()
	conf.Name, conf.Dir, conf.InitialCluster = name, dir, initial
	clients, peers := []url.URL{{Scheme: "http", Host: listen}}, []url.URL{{Scheme: "http", Host: peer}}
	conf.ListenClientUrls, conf.AdvertiseClientUrls = clients, clients
	conf.ListenPeerUrls, conf.AdvertisePeerUrls = peers, peers
	conf.UnsafeNoFsync = true // nothing here is about disks
	conf.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(conf)
	if err != nil {
		return err
	}
	defer e.Close()
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(30 * time.Second):
		return fmt.Errorf("no leader within 30 s")
	}
	fmt.Println(listen)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
