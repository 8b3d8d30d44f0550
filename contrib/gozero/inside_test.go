package gozero

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/zrpc"
	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// dial makes a client as go-zero's users do, in this process, which has the import.
func dial(t *testing.T, block string) *grpc.ClientConn {
	t.Helper()
	t.Setenv("SKERRY_CACHE_DIR", t.TempDir())
	var c struct{ WorkRpc zrpc.RpcClientConf }
	if err := conf.Load(write(t, "WorkRpc: "+block), &c); err != nil {
		t.Fatal(err)
	}
	client, err := zrpc.NewClient(c.WorkRpc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Conn().Close() })
	return client.Conn()
}

// do makes a call, and returns which server it went to.
func do(ctx context.Context, conn *grpc.ClientConn) (to string, err error) {
	var p peer.Peer
	err = conn.Invoke(ctx, "/demo.Work/Do", &emptypb.Empty{}, &wrapperspb.StringValue{}, grpc.Peer(&p))
	if p.Addr != nil {
		to = p.Addr.String()
	}
	return to, err
}

// reaches waits until these servers, and no others, have answered.
func reaches(t *testing.T, conn *grpc.ClientConn, addresses ...string) {
	t.Helper()
	answered := map[string]bool{}
	eventually(t, "all servers answer", func() bool {
		to, err := do(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		answered[to] = true
		return len(answered) >= len(addresses)
	})
	for _, a := range addresses {
		if !answered[a] {
			t.Errorf("%s does not answer; %v do", a, answered)
		}
	}
}

// What the connections know is among the metrics that go-zero serves.
func TestMetrics(t *testing.T) {
	_, addresses := servers(t, "", 2)
	conn := dial(t, `{Endpoints: [`+strings.Join(addresses, ",")+`]}`)
	reaches(t, conn, addresses...)
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "skerry_client_calls_total" && len(f.GetMetric()) >= 2*4 {
			if all := Clients().Explain(); len(all) != 1 || len(all[0].Services) != 1 {
				t.Errorf("the clients are %+v", all)
			}
			return
		}
	}
	t.Error("there is no skerry_client_calls_total for each of two servers")
}

func TestForms(t *testing.T) {
	_, addresses := servers(t, "", 3)
	m := startEtcd(t, nil)
	admin := m.tool(t)
	for n, a := range addresses {
		if _, err := admin.Put(t.Context(), fmt.Sprint("a/b.rpc/", n), a); err != nil {
			t.Fatal(err)
		}
	}
	list := strings.Join(addresses, ",")
	for _, block := range []string{
		`{Endpoints: [` + list + `]}`,
		`{Target: "direct:///` + list + `"}`,
		etcdBlock(m.host, "a/b.rpc"),
		`{Etcd: {Hosts: ["127.0.0.1:1", "` + m.host + `"], Key: a/b.rpc}}`,
		`{Target: "etcd:///` + m.host + `,127.0.0.1:1?key=a/b.rpc"}`,
		`{Target: "etcd://` + m.host + `/a/b.rpc"}`,
		`{Target: "discov://` + m.host + `/a/b.rpc"}`,
		`{Target: "discov:///` + m.host + `?key=a/b.rpc", NonBlock: false}`,
	} {
		t.Run(block, func(t *testing.T) { reaches(t, dial(t, block), addresses...) })
	}
}

// A target of Kubernetes', by the port's name and by its number, from an API server
// that never changes.
func TestKubernetes(t *testing.T) {
	_, addresses := servers(t, "", 2)
	slices := []any{}
	for n, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			t.Fatal(err)
		}
		slices = append(slices, map[string]any{
			"metadata": map[string]any{"name": fmt.Sprint("work-", n), "resourceVersion": "1"}, "addressType": "IPv4",
			"ports":     []any{map[string]any{"name": "grpc", "port": json.Number(port), "protocol": "TCP"}},
			"endpoints": []any{map[string]any{"addresses": []any{host}, "targetRef": map[string]any{"kind": "Pod", "name": fmt.Sprint("work-", n)}}},
		})
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices" {
			http.NotFound(w, r)
			return
		}
		if r.URL.Query().Has("watch") {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]any{"resourceVersion": "1"}, "items": slices}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(func() { api.CloseClientConnections(); api.Close() })
	for _, target := range []string{"k8s:///work:grpc", "k8s://default/work", "k8s://default/work:0"} {
		t.Run(target, func(t *testing.T) { reaches(t, dial(t, `{Target: "`+target+`?server=`+api.URL+`"}`), addresses...) })
	}
	var c zrpc.RpcClientConf
	c.Target = "k8s://default/work:grpc" // this is no pod
	if _, err := zrpc.NewClient(c); err == nil || !strings.Contains(err.Error(), "this is no pod") {
		t.Errorf("without an API server: %v", err)
	}
}

// An Etcd block's account and certificates are used, though no target carries them.
func TestAccountAndTLS(t *testing.T) {
	_, addresses := servers(t, "", 1)
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS ", secure), func(t *testing.T) {
			m := startEtcd(t, func(c *embed.Config) {
				if secure {
					c.ClientAutoTLS = true
					c.ListenClientUrls[0].Scheme, c.AdvertiseClientUrls[0].Scheme = "https", "https"
				}
			})
			block := fmt.Sprintf("{NonBlock: true, Etcd: {Hosts: [%q], Key: work.rpc, User: root, Pass: 'p@/ss'", m.host)
			if secure {
				pki := m.conf.Dir + "/fixtures/client/"
				block += fmt.Sprintf(", CertFile: %scert.pem, CertKeyFile: %skey.pem, CACertFile: %scert.pem", pki, pki, pki)
			}
			e := m.etcd.Server
			_, err1 := e.Put(t.Context(), &etcdserverpb.PutRequest{Key: []byte("work.rpc/1"), Value: []byte(addresses[0])})
			_, err2 := e.UserAdd(t.Context(), &etcdserverpb.AuthUserAddRequest{Name: "root", Password: "p@/ss", Options: &authpb.UserAddOptions{}})
			_, err3 := e.UserGrantRole(t.Context(), &etcdserverpb.AuthUserGrantRoleRequest{User: "root", Role: "root"})
			_, err4 := e.AuthEnable(t.Context(), &etcdserverpb.AuthEnableRequest{})
			if err := errors.Join(err1, err2, err3, err4); err != nil {
				t.Fatal(err)
			}
			reaches(t, dial(t, block+"}}"), addresses...)

			wrong := dial(t, strings.Replace(block, "p@/ss", "secret", 1)+"}}")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := do(ctx, wrong); err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("with a wrong password: %v", err)
			}
		})
	}
}
