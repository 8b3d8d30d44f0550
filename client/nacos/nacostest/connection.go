package nacostest

import (
	"context"
	"encoding/json"
	"fmt"

	pb "github.com/nacos-group/nacos-sdk-go/v2/api/grpc"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/types/known/anypb"
)

// connection is one connection of a client's, to which all belongs that it registered.
type connection struct {
	id         string
	labels     map[string]string // nil before it is set up
	published  map[service][]Instance
	subscribed map[service]string // with the clusters
	unanswered map[string]bool    // requests to the client
	out        chan *pb.Payload
	ended      chan struct{}
}

// naming reports whether Nacos's naming part takes the connection as its client.
func (c *connection) naming() bool { return c.labels["module"] == moduleNaming }

// send queues a message of the stream. A client that takes none is cut off.
func (c *connection) send(kind string, body []byte) {
	select {
	case c.out <- payload(kind, body):
	default:
		c.end()
	}
}

// end makes the stream end. Called with s.mu held.
func (c *connection) end() {
	select {
	case <-c.ended:
	default:
		close(c.ended)
	}
}

func payload(kind string, body []byte) *pb.Payload {
	return &pb.Payload{Metadata: &pb.Metadata{Type: kind, ClientIp: "127.0.0.1"}, Body: &anypb.Any{Value: body}}
}

// transports names gRPC's connections, and notices their end.
type transports struct{ s *Server }

type connectionKey struct{}

func (h transports) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	h.s.made++
	return context.WithValue(ctx, connectionKey{}, fmt.Sprintf("%d_%s_%d", millis(), info.RemoteAddr, h.s.made))
}

func (h transports) HandleConn(ctx context.Context, event stats.ConnStats) {
	if _, ended := event.(*stats.ConnEnd); ended {
		h.s.drop(idOf(ctx))
	}
}

func (transports) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (transports) HandleRPC(context.Context, stats.RPCStats)                       {}

func idOf(ctx context.Context) string {
	id, _ := ctx.Value(connectionKey{}).(string)
	return id
}

// drop forgets a connection and its registrations.
func (s *Server) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.connections[id]
	if c == nil {
		return
	}
	c.end()
	delete(s.connections, id)
	for k := range c.published {
		s.push(k)
	}
}

// calling is the gRPC services.
type calling struct{ s *Server }

// Request implements the service Request.
func (g calling) Request(ctx context.Context, p *pb.Payload) (*pb.Payload, error) {
	kind, id := p.GetMetadata().GetType(), idOf(ctx)
	s := g.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.hung != nil {
		hung := s.hung
		s.mu.Unlock()
		select {
		case <-hung:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	s.asked[kind]++
	if kind == "ServerCheckRequest" {
		out := ok()
		abilities := true
		out.ConnectionID, out.Abilities = id, &abilities
		return payload("ServerCheckResponse", marshal(out)), nil
	}
	c := s.connections[id]
	if c == nil {
		return payload(typeErrorResponse, marshal(failed(codeUnregistered, "Connection is unregistered."))), nil
	}
	var r request
	if err := json.Unmarshal(p.GetBody().GetValue(), &r); err != nil {
		return payload(typeErrorResponse, marshal(failed(codeBadRequest, err.Error()))), nil
	}
	reply, out := s.answer(c, kind, &r, p.GetMetadata().GetHeaders()["accessToken"])
	out.RequestID = r.RequestID
	return payload(reply, marshal(out)), nil
}

// RequestBiStream implements the service BiRequestStream.
func (g calling) RequestBiStream(stream pb.BiRequestStream_RequestBiStreamServer) error {
	c := &connection{
		id: idOf(stream.Context()), published: map[service][]Instance{}, subscribed: map[service]string{},
		unanswered: map[string]bool{}, out: make(chan *pb.Payload, 1000), ended: make(chan struct{}),
	}
	go g.s.hear(c, stream)
	defer g.s.drop(c.id)
	for {
		select {
		case p := <-c.out:
			if err := stream.Send(p); err != nil {
				return err
			}
		case <-c.ended:
			return nil
		case <-stream.Context().Done():
			return nil
		}
	}
}

// hear takes the setup and the acknowledgements in.
func (s *Server) hear(c *connection, stream pb.BiRequestStream_RequestBiStreamServer) {
	for {
		p, err := stream.Recv()
		if err != nil {
			return
		}
		var r request
		if json.Unmarshal(p.GetBody().GetValue(), &r) != nil {
			continue
		}
		s.mu.Lock()
		s.asked[p.GetMetadata().GetType()]++
		switch p.GetMetadata().GetType() {
		case "ConnectionSetupRequest":
			if c.labels = r.Labels; c.labels == nil {
				c.labels = map[string]string{}
			}
			s.connections[c.id] = c
		case typeNotifyAnswer, typeResetAnswer:
			delete(c.unanswered, r.RequestID)
		}
		s.mu.Unlock()
	}
}
