// Package load is the common part of the callers of all policies: calls at random moments
// (Poisson), whatever their outcome, from so many connections.
package load

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/skerryhq/skerry/test/sdk/work"
)

var began = time.Now()

// Settings are the flags that a way to dial knows.
type Settings struct {
	Find    string // how servers are found: a list of addresses, or what the policy can
	Service string // by which name
	Cache   string // folder for the lists that outlast the process
	Retry   bool   // calls that fail as UNAVAILABLE are made again, once
	Callers int
}

// Dialer makes connections as one policy does.
type Dialer struct {
	One   func() (grpc.ClientConnInterface, error) // the connection of a caller
	First <-chan struct{}                          // closed when there is a list; nil: when the first connection is ready
}

// RetryPolicy is one retry, as a part of a service config.
const RetryPolicy = `"methodConfig":[{"name":[{"service":"` + work.Service + `"}],"retryPolicy":{"maxAttempts":2,"initialBackoff":"0.01s","maxBackoff":"0.1s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]`

// Main is the main function of a program of callers: it writes a [work.Record] for each
// call to its standard output, and ends when its standard input does.
func Main(dialer func(*Settings) (Dialer, error)) {
	var s Settings
	flag.StringVar(&s.Find, "find", "", "how servers are found: a list of addresses, or a URL that the policy knows")
	flag.StringVar(&s.Service, "service", "work", "name to find by")
	flag.StringVar(&s.Cache, "cache", "", "folder for the lists that outlast the process")
	flag.BoolVar(&s.Retry, "retry", false, "make calls again that fail as UNAVAILABLE")
	flag.IntVar(&s.Callers, "callers", 4, "how many connections of their own")
	servers := flag.String("servers", "", "the addresses that records number; default: those of -find")
	rate := flag.Float64("rps", 100, "calls a second of all callers")
	limit := flag.Duration("deadline", 2*time.Second, "of each call, from when it was meant to be sent")
	seed := flag.Uint64("seed", 1, "of the random choices")
	flag.Parse()
	if *servers == "" {
		*servers = s.Find
	}
	number := map[string]uint8{}
	for n, a := range strings.Split(*servers, ",") {
		number[a] = uint8(n)
	}
	l := &load{rate: *rate, limit: *limit, number: number, random: rand.New(rand.NewPCG(*seed, 2)), out: make(chan work.Record, 1<<14)}
	if err := l.run(&s, dialer); err != nil {
		fmt.Fprintln(os.Stderr, "caller:", err)
		os.Exit(1)
	}
}

// load is the calls of all callers.
type load struct {
	rate   float64
	limit  time.Duration
	number map[string]uint8 // servers by address
	random *rand.Rand
	conns  []grpc.ClientConnInterface
	out    chan work.Record
}

// dial makes the connections of all callers, and waits for the first list.
func (l *load) dial(ctx context.Context, s *Settings, dialer func(*Settings) (Dialer, error)) error {
	d, err := dialer(s)
	if err != nil {
		return err
	}
	for range s.Callers {
		c, err := d.One()
		if err != nil {
			return err
		}
		l.conns = append(l.conns, c)
	}
	if d.First == nil {
		d.First = connected(l.conns[0].(*grpc.ClientConn))
	}
	select {
	case <-d.First:
	case <-ctx.Done():
	}
	return nil
}

// connected is closed when a connection can take calls.
func connected(c *grpc.ClientConn) <-chan struct{} {
	first := make(chan struct{})
	c.Connect()
	go func() {
		for s := c.GetState(); s != connectivity.Ready; s = c.GetState() {
			c.WaitForStateChange(context.Background(), s)
		}
		close(first)
	}()
	return first
}

func (l *load) run(s *Settings, dialer func(*Settings) (Dialer, error)) error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := l.dial(ctx, s, dialer); err != nil {
		return err
	}
	ready := work.Record{At: began.UnixMicro(), Took: uint32(time.Since(began).Microseconds()), Code: work.Ready, Server: work.NoServer}
	if _, err := os.Stdout.Write(ready.Append(nil)); err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() { written <- l.write() }()
	var calls sync.WaitGroup
	for next := time.Now(); ctx.Err() == nil; {
		next = next.Add(time.Duration(l.random.ExpFloat64() / l.rate * float64(time.Second)))
		if pause := time.Until(next); pause > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
		if ctx.Err() != nil {
			break
		}
		caller := l.random.IntN(len(l.conns))
		calls.Go(func() { l.call(next, caller) })
	}
	calls.Wait()
	close(l.out)
	return <-written
}

// call makes one call.
func (l *load) call(meant time.Time, caller int) {
	ctx, cancel := context.WithDeadline(context.Background(), meant.Add(l.limit))
	defer cancel()
	var to peer.Peer
	err := l.conns[caller].Invoke(ctx, work.Method, &emptypb.Empty{}, &emptypb.Empty{}, grpc.Peer(&to))
	r := work.Record{At: meant.UnixMicro(), Took: uint32(time.Since(meant).Microseconds()), Code: uint8(status.Code(err)), Server: work.NoServer, Caller: uint16(caller)}
	if to.Addr != nil {
		if n, ok := l.number[to.Addr.String()]; ok {
			r.Server = n
		}
	}
	l.out <- r
}

// write writes the records, at the latest after a moment.
func (l *load) write() error {
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	flush := time.NewTicker(100 * time.Millisecond)
	defer flush.Stop()
	var b []byte
	var failed error
	for {
		select {
		case r, ok := <-l.out:
			if !ok {
				return errors.Join(failed, out.Flush())
			}
			b = r.Append(b[:0])
			if _, err := out.Write(b); err != nil {
				failed = err
			}
		case <-flush.C:
			if err := out.Flush(); err != nil {
				return err // the reader is gone
			}
		}
	}
}
