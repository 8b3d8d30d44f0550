package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skerryhq/skerry/examples/timeservice/timepb"
)

// clock is the TimeService, by gRPC and by HTTP.
type clock struct {
	timepb.UnimplementedTimeServiceServer
	instance string
	ill      atomic.Bool // every second call fails
	calls    atomic.Int64
}

// Now implements [timepb.TimeServiceServer].
func (c *clock) Now(_ context.Context, req *timepb.NowRequest) (*timepb.NowResponse, error) {
	if c.calls.Add(1)%2 == 0 && c.ill.Load() {
		return nil, status.Error(codes.Unavailable, "this server was told to fail")
	}
	zone, err := time.LoadLocation(req.GetZone())
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "zone: %v", err)
	}
	return &timepb.NowResponse{Time: time.Now().In(zone).Format(time.RFC3339), Instance: c.instance}, nil
}

// ServeHTTP answers GET /now?zone=ZONE with the time and the instance.
func (c *clock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now, err := c.Now(r.Context(), &timepb.NowRequest{Zone: r.URL.Query().Get("zone")})
	switch status.Code(err) {
	case codes.OK:
		fmt.Fprintln(w, now.GetTime(), now.GetInstance())
	case codes.InvalidArgument:
		http.Error(w, status.Convert(err).Message(), http.StatusBadRequest)
	default:
		http.Error(w, status.Convert(err).Message(), http.StatusServiceUnavailable)
	}
}

// obey makes the clock ill and well again, in turns, by signal HUP.
func (c *clock) obey() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGHUP)
	for range told {
		c.ill.Store(!c.ill.Load())
		log.Printf("%s: every second call fails: %v", c.instance, c.ill.Load())
	}
}
