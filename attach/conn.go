package attach

import (
	"context"
	"sync"

	"github.com/skerryhq/skerry/cluster"
)

// maxWaiting is how many frames wait for a stream. The protocol repeats those that are dropped.
const maxWaiting = 16

// conn is a stream to a server, or one that is being opened.
type conn struct {
	to      cluster.ServerID
	address string
	ctx     context.Context
	stop    context.CancelFunc
	frames  chan []byte
}

func newConn(ctx context.Context, to cluster.ServerID, address string) *conn {
	ctx, stop := context.WithCancel(ctx)
	return &conn{to: to, address: address, ctx: ctx, stop: stop, frames: make(chan []byte, maxWaiting)}
}

func (c *conn) ended() bool { return c.ctx.Err() != nil }

func (c *conn) post(frame []byte) {
	select {
	case c.frames <- frame:
	default:
	}
}

// run opens the stream, sends the frames, and gives those that come to receive, until it ends.
func (c *conn) run(dial func(context.Context, string) (Stream, error), receive func([]byte)) error {
	s, err := dial(c.ctx, c.address)
	if err != nil {
		return err
	}
	defer s.Close()
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		defer s.Close() // so that receiving ends too
		for {
			select {
			case <-c.ctx.Done():
				return
			case frame := <-c.frames:
				if s.Send(frame) != nil {
					return
				}
			}
		}
	})
	defer c.stop()
	for {
		frame, err := s.Receive()
		if err != nil {
			return err
		}
		receive(frame)
	}
}
