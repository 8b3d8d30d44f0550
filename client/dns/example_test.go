package dns_test

import (
	"context"
	"fmt"

	mdns "github.com/miekg/dns"

	"github.com/skerryhq/skerry/client"
	_ "github.com/skerryhq/skerry/client/dns"
)

// A program finds a service by the SRV records of a DNS server.
func Example() {
	started := make(chan struct{})
	server := &mdns.Server{Addr: "127.0.0.1:0", Net: "udp", NotifyStartedFunc: func() { close(started) }}
	server.Handler = mdns.HandlerFunc(func(w mdns.ResponseWriter, question *mdns.Msg) {
		reply := new(mdns.Msg).SetReply(question)
		record, _ := mdns.NewRR("web.service.consul. 5 SRV 1 1 8080 n1.node.consul.")
		address, _ := mdns.NewRR("n1.node.consul. 5 A 10.0.0.1")
		reply.Answer, reply.Extra = append(reply.Answer, record), append(reply.Extra, address)
		w.WriteMsg(reply)
	})
	go server.ListenAndServe()
	<-started
	defer server.Shutdown()

	c, err := client.Open("dns://"+server.PacketConn.LocalAddr().String()+"/service.consul", client.WithCacheDir(""))
	if err != nil {
		panic(err)
	}
	defer c.Close()
	for s := range c.Watch(context.Background(), "web") {
		fmt.Println(s.Freshness, s.Instances[0].Address)
		break
	}
	// Output: live 10.0.0.1:8080
}
