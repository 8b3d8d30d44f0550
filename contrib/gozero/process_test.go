package gozero

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/skerryhq/skerry/client"
	gozeroconf "github.com/skerryhq/skerry/client/gozero"
	skerrygrpc "github.com/skerryhq/skerry/client/grpc"
)

// An unmodified go-zero server is found and called by a program of ours, by the YAML
// of a go-zero client.
func TestGoZeroServerOurClient(t *testing.T) {
	t.Parallel()
	m := startEtcd(t, nil)
	all, addresses := servers(t, m.host, 2)
	conf, err := gozeroconf.ReadClient(write(t, "WorkRpc: "+etcdBlock(m.host, "work.rpc")), "WorkRpc")
	if err != nil {
		t.Fatal(err)
	}
	c, err := conf.Open(client.WithCacheDir(""))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn, err := grpc.NewClient("skerry:///"+conf.Service, append(skerrygrpc.DialOptions(c, skerrygrpc.WithForeignServers()),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	do := func() string {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		name := &wrapperspb.StringValue{}
		if err := conn.Invoke(ctx, "/demo.Work/Do", &emptypb.Empty{}, name); err != nil {
			t.Error(err)
		}
		return name.GetValue()
	}
	answered := map[string]bool{}
	eventually(t, "both servers answer", func() bool { answered[do()] = true; return answered[addresses[0]] && answered[addresses[1]] })
	all[0].stop(t)
	for range 100 {
		if name := do(); name != addresses[1] {
			t.Fatalf("a server that has withdrawn answers: %s", name)
		}
	}
}

// A server of ours that registers in etcd is found and called by an unmodified go-zero
// client.
func TestOurServerGoZeroClient(t *testing.T) {
	t.Parallel()
	m := startEtcd(t, nil)
	at := address(t)
	conf, err := gozeroconf.ReadServer(write(t, fmt.Sprintf("Name: work\nListenOn: %s\nEtcd: {Hosts: [%q], Key: work.rpc}", at, m.host)), "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := conf.Open(client.WithCacheDir(""))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l, err := net.Listen("tcp", conf.ListenOn)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(skerrygrpc.ServerOptions()...)
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "demo.Work", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Do", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			return wrapperspb.String("ours"), decode(&emptypb.Empty{})
		},
	}}}, nil)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- skerrygrpc.Serve(ctx, s, l, c, conf.Instance()) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	m.keys(t, "work.rpc", 1)
	p := caller(t, plain, "", 50, etcdBlock(m.host, "work.rpc"))
	p.called(t, at)
	if _, failed, _ := p.finish(t, time.Time{}); len(failed) > 0 {
		t.Errorf("%d calls failed\n%s", len(failed), sample(failed))
	}
}

// etcd dies, and comes back without its data; some servers register again, others
// were registered by hand.
func TestEtcdLosesItsData(t *testing.T) {
	t.Parallel()
	m := startEtcd(t, nil)
	_, addresses := servers(t, m.host, 3)
	admin := m.tool(t)
	for n, a := range addresses {
		if _, err := admin.Put(t.Context(), fmt.Sprint("fixed.rpc/", n), a); err != nil {
			t.Fatal(err)
		}
	}
	type run struct {
		name, key string
		p         *program
	}
	var runs []run
	for _, key := range []string{"work.rpc", "fixed.rpc"} {
		for name, file := range map[string]string{"plain": plain, "ours": ours} {
			runs = append(runs, run{name, key, caller(t, file, t.TempDir(), 40, etcdBlock(m.host, key))})
		}
	}
	for _, r := range runs {
		r.p.called(t, addresses...)
	}
	began := time.Now()
	m.stop()
	time.Sleep(3 * time.Second)
	m.start(t)
	m.keys(t, "work.rpc", 3) // they have registered again
	time.Sleep(8 * time.Second)
	for _, r := range runs {
		calls, failed, to := r.p.finish(t, began)
		t.Logf("%s, %s: %d of %d calls failed", r.key, r.name, len(failed), len(calls))
		if r.name == "plain" {
			continue
		}
		if len(failed) > 0 {
			t.Errorf("%s: %d of %d calls failed\n%s", r.key, len(failed), len(calls), sample(failed))
		}
		for _, a := range addresses {
			if to[a] == 0 {
				t.Errorf("%s: %s is not called any more", r.key, a)
			}
		}
	}
}

// A program starts while etcd is dead, by the list on the disk.
func TestStartsWithoutEtcd(t *testing.T) {
	t.Parallel()
	m := startEtcd(t, nil)
	_, addresses := servers(t, m.host, 3)
	cache := t.TempDir()
	before := caller(t, ours, cache, 40, etcdBlock(m.host, "work.rpc"))
	before.called(t, addresses...)
	eventually(t, "the list is on disk", func() bool {
		files, err := filepath.Glob(cache + "/*.json")
		return err == nil && len(files) == 1
	})
	before.finish(t, time.Time{})
	m.stop()

	began := time.Now()
	beside := caller(t, plain, cache, 40, etcdBlock(m.host, "work.rpc"))
	p := caller(t, ours, cache, 40, etcdBlock(m.host, "work.rpc"))
	p.called(t, addresses...)
	beside.wait(t)
	said := beside.stderr.String()
	t.Logf("plain: after %v %v: …%s", time.Since(began).Round(100*time.Millisecond), beside.err, said[max(0, len(said)-300):])
	if calls, failed, _ := p.finish(t, began); len(failed) > 0 {
		t.Errorf("%d of %d calls failed\n%s", len(failed), len(calls), sample(failed))
	}
}

// A server that fails fast gets next to nothing.
func TestFailingServer(t *testing.T) {
	t.Parallel()
	m := startEtcd(t, nil)
	const count = 8
	_, addresses := servers(t, m.host, count)
	callers := map[string]*program{}
	for name, file := range map[string]string{"plain": plain, "ours": ours} {
		callers[name] = caller(t, file, t.TempDir(), 100, etcdBlock(m.host, "work.rpc"))
		callers[name].called(t, addresses...)
	}
	conn, err := grpc.NewClient(addresses[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	if err := conn.Invoke(t.Context(), "/demo.Work/Fail", &emptypb.Empty{}, &wrapperspb.StringValue{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(12 * time.Second)
	for name, p := range callers {
		calls, failed, to := p.finish(t, began)
		share := 100 * float64(to[addresses[0]]) / float64(len(calls))
		t.Logf("%s: the failing server gets %.2f %% (fair: %.2f %%), %.2f %% of %d calls fail", name, share, 100./count, 100*float64(len(failed))/float64(len(calls)), len(calls))
		if name == "ours" && (share >= 2 || 50*len(failed) >= len(calls)) {
			t.Errorf("the failing server gets %.2f %% of the calls; %d of %d fail\n%s", share, len(failed), len(calls), sample(failed))
		}
	}
}

// Unmodified servers are started anew, one after another, and no call fails.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	m := startEtcd(t, nil)
	all, addresses := servers(t, m.host, 3)
	callers := map[string]*program{}
	for name, file := range map[string]string{"plain": plain, "ours": ours} {
		callers[name] = caller(t, file, t.TempDir(), 100, etcdBlock(m.host, "work.rpc"))
		callers[name].called(t, addresses...)
	}
	began := time.Now()
	for n, p := range all {
		p.stop(t)
		server(t, m.host, addresses[n])
		for _, c := range callers {
			c.called(t, addresses...)
		}
	}
	for name, p := range callers {
		calls, failed, _ := p.finish(t, began)
		t.Logf("%s: %d of %d calls failed", name, len(failed), len(calls))
		if name == "ours" && len(failed) > 0 {
			t.Errorf("%d of %d calls failed\n%s", len(failed), len(calls), sample(failed))
		}
	}
}
