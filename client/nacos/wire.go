package nacos

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/common/logger"
	"github.com/nacos-group/nacos-sdk-go/v2/common/nacos_server"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_response"
	"github.com/nacos-group/nacos-sdk-go/v2/util"
)

// wire is a connection of the SDK's, which it makes anew when it breaks. It is told of
// no events by the SDK, which would then read without a lock what it writes meanwhile.
type wire struct {
	rpc     *rpc.RpcClient
	cancel  context.CancelFunc   // ends the SDK's goroutines
	started chan struct{}        // closed when the SDK has done its first attempts
	link    atomic.Pointer[link] // whose it is; nil when it has ended: the SDK keeps it for ever
}

// lingerFor is longer than the SDK goes on connecting when it has been shut down.
const lingerFor = 10 * time.Second

// prepare is done once, before the SDK is used: it looks up the machine's address
// without a lock, and its log writes to stderr until there is another.
var prepare = sync.OnceFunc(func() {
	if logger.GetLogger() == initialLog {
		logger.SetLogger(quiet{})
	}
	util.LocalIP()
})

var initialLog = logger.GetLogger()

// quiet is a log of nothing: what goes wrong is told to whoever asked, or made good.
type quiet struct{}

func (quiet) Info(...any)           {}
func (quiet) Warn(...any)           {}
func (quiet) Error(...any)          {}
func (quiet) Debug(...any)          {}
func (quiet) Infof(string, ...any)  {}
func (quiet) Warnf(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Debugf(string, ...any) {}

// newWire has the SDK connect, for which it does not wait.
func newWire(l *link) (*wire, error) {
	prepare()
	ctx, cancel := context.WithCancel(context.Background())
	// The SDK may change what it is given.
	servers, secure := append([]constant.ServerConfig(nil), l.s.servers...), l.s.tls
	server, err := nacos_server.NewNacosServer(ctx, servers, constant.ClientConfig{}, nil, uint64(answerWithin.Milliseconds()), "", nil)
	if err != nil {
		cancel()
		return nil, err
	}
	labels := map[string]string{constant.LABEL_SOURCE: constant.LABEL_SOURCE_SDK, constant.LABEL_MODULE: constant.LABEL_MODULE_NAMING}
	made, err := rpc.CreateClient(ctx, "skerry-"+rand.Text(), rpc.GRPC, labels, server, &secure, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	w := &wire{rpc: made.GetRpcClient(), cancel: cancel, started: make(chan struct{})}
	w.link.Store(l)
	w.rpc.RegisterServerRequestHandler(func() rpc_request.IRequest {
		return &rpc_request.NotifySubscriberRequest{NamingRequest: &rpc_request.NamingRequest{}}
	}, (*pushes)(w))
	go func() {
		w.rpc.Start() // waits for its first attempts
		// In the place of the SDK's own, which moves without a word.
		w.rpc.RegisterServerRequestHandler(func() rpc_request.IRequest {
			return &rpc_request.ConnectResetRequest{InternalRequest: rpc_request.NewInternalRequest()}
		}, (*resets)(w))
		close(w.started)
	}()
	return w, nil
}

// end ends the connection, and what the SDK does for it.
func (w *wire) end() {
	w.link.Store(nil)
	<-w.started
	connected := w.rpc.IsRunning()
	w.rpc.Shutdown()
	if !connected {
		// The SDK may be connecting: what it gets, it would keep.
		time.Sleep(lingerFor)
		if w.rpc.IsRunning() {
			w.rpc.Shutdown()
		}
	}
	w.cancel()
}

// pushes takes lists from the server.
type pushes wire

// Name implements [rpc.IServerRequestHandler].
func (*pushes) Name() string { return "skerry's pushes" }

// RequestReply implements [rpc.IServerRequestHandler].
func (w *pushes) RequestReply(request rpc_request.IRequest, _ *rpc.RpcClient) rpc_response.IResponse {
	push, ok := request.(*rpc_request.NotifySubscriberRequest)
	if !ok {
		return nil
	}
	if l := w.link.Load(); l != nil {
		l.push(&push.ServiceInfo)
	}
	return &rpc_response.NotifySubscriberResponse{Response: &rpc_response.Response{ResultCode: constant.RESPONSE_CODE_SUCCESS, Success: true}}
}

// resets is asked by a server to go to another.
type resets wire

// Name implements [rpc.IServerRequestHandler].
func (*resets) Name() string { return "skerry's resets" }

// RequestReply implements [rpc.IServerRequestHandler].
func (w *resets) RequestReply(rpc_request.IRequest, *rpc.RpcClient) rpc_response.IResponse {
	if l := w.link.Load(); l != nil {
		select {
		case l.reset <- struct{}{}:
		default: // it is at it
		}
	}
	return &rpc_response.ConnectResetResponse{Response: &rpc_response.Response{ResultCode: constant.RESPONSE_CODE_SUCCESS, Success: true}}
}
