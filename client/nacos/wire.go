package nacos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	pb "github.com/nacos-group/nacos-sdk-go/v2/api/grpc"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	// mostMessage is far above any list.
	mostMessage = 64 << 20
	setupEvery  = 20 * time.Millisecond

	resultOK     = 200 // Nacos's ResponseCode.SUCCESS
	noRight      = 403 // its NacosException.NO_RIGHT
	unregistered = 301 // its NacosException.UN_REGISTER
)

var errLost = errors.New("the connection is lost")

// wire is a connection to one server, until it breaks.
type wire struct {
	conn   *grpc.ClientConn
	calls  pb.RequestClient
	stream pb.BiRequestStream_RequestBiStreamClient
	cancel context.CancelFunc // ends the stream
	ip     string             // of this machine, as the server sees it

	once sync.Once
	dead chan struct{} // closed when it has broken
	err  error         // why; read when dead is closed
}

// answer has the fields of answers that are read.
type answer struct {
	ResultCode  int            `json:"resultCode"`
	ErrorCode   int            `json:"errorCode"`
	Message     string         `json:"message"`
	ServiceInfo *model.Service `json:"serviceInfo"`
}

// refusal is an answer that is no success.
type refusal struct {
	kind    string
	code    int
	message string
}

func (r *refusal) Error() string { return fmt.Sprintf("%s: code %d: %s", r.kind, r.code, r.message) }

// dial connects to a server, and passes its messages to l.
func (l *link) dial(ctx context.Context, at string) (*wire, error) {
	secure := insecure.NewCredentials()
	if l.s.tls != nil {
		secure = credentials.NewTLS(l.s.tls.Clone())
	}
	conn, err := grpc.NewClient("passthrough:///"+at, grpc.WithTransportCredentials(secure),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(mostMessage)))
	if err != nil {
		return nil, err
	}
	living, cancel := context.WithCancel(context.Background())
	w := &wire{conn: conn, calls: pb.NewRequestClient(conn), cancel: cancel, ip: ipFor(at), dead: make(chan struct{})}
	if err := w.setup(ctx, living, l); err != nil {
		w.fail(err)
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return w, nil
}

// ipFor is the address that this machine has towards a server. Nothing is sent for it.
func ipFor(at string) string {
	conn, err := net.Dial("udp", at)
	if err != nil {
		return ""
	}
	defer conn.Close()
	host, _, _ := net.SplitHostPort(conn.LocalAddr().String())
	return host
}

// setup makes the server take the connection as a client's of its naming part.
func (w *wire) setup(ctx, living context.Context, l *link) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if _, err := w.call(ctx, rpc_request.NewServerCheckRequest(), "ServerCheckResponse"); err != nil {
		return err
	}
	var err error
	if w.stream, err = pb.NewBiRequestStreamClient(w.conn).RequestBiStream(living); err != nil {
		return err
	}
	hello := rpc_request.NewConnectionSetupRequest()
	hello.ClientVersion = constant.CLIENT_VERSION
	hello.Labels = map[string]string{constant.LABEL_SOURCE: constant.LABEL_SOURCE_SDK, constant.LABEL_MODULE: constant.LABEL_MODULE_NAMING}
	if err := w.stream.Send(w.payload(hello.GetRequestType(), nil, []byte(hello.GetBody(hello)))); err != nil {
		return err
	}
	go w.hear(l)
	// The server does not report when it has done so.
	for {
		err := w.check(ctx)
		var refused *refusal
		if !errors.As(err, &refused) || refused.code != unregistered {
			return err
		}
		select {
		case <-time.After(setupEvery):
		case <-ctx.Done():
			return err
		}
	}
}

// check asks whether the server has the connection.
func (w *wire) check(ctx context.Context) error {
	_, err := w.call(ctx, rpc_request.NewHealthCheckRequest(), "HealthCheckResponse")
	return err
}

func (w *wire) payload(kind string, headers map[string]string, body []byte) *pb.Payload {
	return &pb.Payload{Metadata: &pb.Metadata{Type: kind, Headers: headers, ClientIp: w.ip}, Body: &anypb.Any{Value: body}}
}

// call asks the server. An answer of another kind, or that is no success, is an error.
func (w *wire) call(ctx context.Context, r rpc_request.IRequest, kind string) (*answer, error) {
	p, err := w.calls.Request(ctx, w.payload(r.GetRequestType(), r.GetHeaders(), []byte(r.GetBody(r))))
	if err != nil {
		return nil, err
	}
	var a answer
	if err := json.Unmarshal(p.GetBody().GetValue(), &a); err != nil {
		return nil, fmt.Errorf("%s: the answer: %w", r.GetRequestType(), err)
	}
	if a.ResultCode != resultOK {
		return nil, &refusal{kind: r.GetRequestType(), code: a.ErrorCode, message: a.Message}
	}
	if got := p.GetMetadata().GetType(); got != kind {
		return nil, fmt.Errorf("%s: the answer is a %s", r.GetRequestType(), got)
	}
	return &a, nil
}

// hear takes the server's messages, and acknowledges them, until the stream ends.
func (w *wire) hear(l *link) {
	for {
		p, err := w.stream.Recv()
		if err != nil {
			w.fail(fmt.Errorf("%w: %w", errLost, err))
			return
		}
		var told struct {
			RequestID   string         `json:"requestId"`
			ServiceInfo *model.Service `json:"serviceInfo"`
		}
		reply := ""
		switch kind := p.GetMetadata().GetType(); kind {
		case "NotifySubscriberRequest":
			reply = "NotifySubscriberResponse"
		case "ConnectResetRequest":
			reply = "ConnectResetResponse"
		case "ClientDetectionRequest":
			reply = "ClientDetectionResponse"
		default:
			continue // such as SetupAckRequest, which wants none
		}
		if err := json.Unmarshal(p.GetBody().GetValue(), &told); err != nil {
			w.fail(fmt.Errorf("%w: %s: %w", errLost, p.GetMetadata().GetType(), err))
			return
		}
		switch {
		case reply == "ConnectResetResponse":
			l.asked(w)
		case told.ServiceInfo != nil:
			l.push(w, told.ServiceInfo)
		}
		body, err := json.Marshal(map[string]any{"resultCode": resultOK, "errorCode": 0, "success": true, "requestId": told.RequestID})
		if err == nil {
			err = w.stream.Send(w.payload(reply, nil, body))
		}
		if err != nil {
			w.fail(fmt.Errorf("%w: %w", errLost, err))
			return
		}
	}
}

// fail ends the connection. The first reason counts.
func (w *wire) fail(err error) {
	w.once.Do(func() {
		w.err = err
		close(w.dead)
		w.cancel()
		w.conn.Close()
	})
}
