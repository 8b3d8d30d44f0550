package nacostest_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/clients"
	"github.com/nacos-group/nacos-sdk-go/v2/clients/naming_client"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/common/logger"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
	"go.uber.org/zap"

	"github.com/skerryhq/skerry/client/nacos/nacostest"
)

// theirs is the naming client of Nacos's own SDK, connected to the stand-in.
func theirs(t *testing.T, s *nacostest.Server, user, password string) naming_client.INamingClient {
	t.Helper()
	host, port, _ := strings.Cut(s.Addr(), ":")
	var number uint64
	if _, err := fmt.Sscan(port, &number); err != nil {
		t.Fatal(err)
	}
	// It goes on writing for a moment when it has been closed.
	dir, err := os.MkdirTemp("", "nacostest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		logger.SetLogger(zap.NewNop().Sugar()) // the other makes its folder again
		for deadline := time.Now().Add(5 * time.Second); os.RemoveAll(dir) != nil && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
	})
	c, err := clients.NewNamingClient(vo.NacosClientParam{
		ClientConfig: &constant.ClientConfig{
			TimeoutMs: 3000, LogDir: dir, CacheDir: dir, NotLoadCacheAtStart: true, UpdateCacheWhenEmpty: true,
			Username: user, Password: password, LogLevel: "error",
		},
		ServerConfigs: []constant.ServerConfig{{IpAddr: host, Port: number}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseClient)
	return c
}

// addresses are those of the instances, sorted.
func addresses(list []model.Instance) string {
	var out []string
	for _, i := range list {
		out = append(out, fmt.Sprintf("%s:%d", i.Ip, i.Port))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// The SDK's own client reads what the stand-in says, as it would Nacos.
func TestTheSDKsOwnClient(t *testing.T) {
	s := nacostest.Start(t, nacostest.Options{User: "nacos", Password: "nacos"})
	c := theirs(t, s, "nacos", "nacos")
	told := make(chan []model.Instance, 100)
	watch := &vo.SubscribeParam{ServiceName: "orders", GroupName: "g", SubscribeCallback: func(list []model.Instance, err error) {
		if err == nil {
			told <- list
		}
	}}
	if err := c.Subscribe(watch); err != nil {
		t.Fatal(err)
	}
	wait := func(want string) []model.Instance {
		t.Helper()
		for deadline := time.After(10 * time.Second); ; {
			select {
			case list := <-told:
				if addresses(list) == want {
					return list
				}
			case <-deadline:
				t.Fatalf("not told of [%s]", want)
			}
		}
	}
	good, err := c.RegisterInstance(vo.RegisterInstanceParam{
		Ip: "10.0.0.1", Port: 80, Weight: 2.5, Enable: true, Healthy: true, Ephemeral: true, ServiceName: "orders", GroupName: "g",
		ClusterName: "c1", Metadata: map[string]string{"team": "x"},
	})
	if err != nil || !good {
		t.Fatalf("register: %v, %v", good, err)
	}
	i := wait("10.0.0.1:80")[0]
	if i.InstanceId != "10.0.0.1#80#c1#g@@orders" || i.ServiceName != "g@@orders" || i.ClusterName != "c1" || i.Weight != 2.5 ||
		!i.Healthy || !i.Enable || !i.Ephemeral || i.Metadata["team"] != "x" || i.InstanceHeartBeatInterval != 5000 {
		t.Errorf("instance %+v", i)
	}
	// A batch takes the place of what the connection had of the service.
	batch := []vo.RegisterInstanceParam{
		{Ip: "10.0.0.2", Port: 80, Weight: 1, Enable: true, Healthy: true, Ephemeral: true},
		{Ip: "10.0.0.3", Port: 80, Weight: 1, Enable: true, Healthy: true, Ephemeral: true},
	}
	if good, err := c.BatchRegisterInstance(vo.BatchRegisterInstanceParam{ServiceName: "orders", GroupName: "g", Instances: batch}); err != nil || !good {
		t.Fatalf("batch: %v, %v", good, err)
	}
	wait("10.0.0.2:80 10.0.0.3:80")
	services, err := c.GetAllServicesInfo(vo.GetAllServiceInfoParam{GroupName: "g", PageNo: 1, PageSize: 10})
	if err != nil || services.Count != 1 || len(services.Doms) != 1 || services.Doms[0] != "orders" {
		t.Errorf("services %+v, %v", services, err)
	}
	if services, err = c.GetAllServicesInfo(vo.GetAllServiceInfoParam{GroupName: "g", PageNo: 2, PageSize: 10}); err != nil || services.Count != 1 || len(services.Doms) != 0 {
		t.Errorf("second page %+v, %v", services, err)
	}
	if good, err := c.DeregisterInstance(vo.DeregisterInstanceParam{Ip: "10.0.0.2", Port: 80, ServiceName: "orders", GroupName: "g", Ephemeral: true}); err != nil || !good {
		t.Fatalf("withdraw: %v, %v", good, err)
	}
	wait("")
	for deadline := time.Now().Add(10 * time.Second); s.Unanswered() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d pushes are not acknowledged", s.Unanswered())
		}
	}
	if !c.ServerHealthy() {
		t.Error("not healthy")
	}
}

// A connection's instances end with it.
func TestConnectionsEnd(t *testing.T) {
	s := nacostest.Start(t, nacostest.Options{})
	c := theirs(t, s, "", "")
	if _, err := c.RegisterInstance(vo.RegisterInstanceParam{Ip: "10.0.0.1", Port: 80, Weight: 1, Enable: true, Healthy: true, Ephemeral: true, ServiceName: "orders"}); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Instances("", "", "orders")); n != 1 {
		t.Fatalf("%d instances", n)
	}
	c.CloseClient()
	for deadline := time.Now().Add(10 * time.Second); len(s.Instances("", "", "orders")) > 0 || s.Connections() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d instances of %d connections", len(s.Instances("", "", "orders")), s.Connections())
		}
	}
}

// Why client/nacos does not use the SDK's naming client: to it, a refusal is an empty
// list, without an error. When this test fails, the SDK has changed.
func TestTheSDKTakesARefusalForEmpty(t *testing.T) {
	s := nacostest.Start(t, nacostest.Options{User: "nacos", Password: "nacos"})
	s.Put("", "", "orders", nacostest.Instance{IP: "10.0.0.1", Port: 80, Weight: 1, Healthy: true, Enabled: true})
	list, err := theirs(t, s, "", "").SelectAllInstances(vo.SelectAllInstancesParam{ServiceName: "orders"})
	if err != nil || len(list) != 0 {
		t.Errorf("refused, it has %v, %v", list, err)
	}
	if list, err := theirs(t, s, "nacos", "nacos").SelectAllInstances(vo.SelectAllInstancesParam{ServiceName: "orders"}); err != nil || addresses(list) != "10.0.0.1:80" {
		t.Errorf("let in, it has %v, %v", list, err)
	}
}
