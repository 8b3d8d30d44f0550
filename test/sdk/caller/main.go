// Command caller sends calls at random moments (Poisson), whatever becomes of them,
// from so many connections, and writes a work.Record for each to its standard output.
// It ends when its standard input does.
package main

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

	"github.com/zeromicro/go-zero/core/logx"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/skerryhq/skerry/test/sdk/work"
)

var began = time.Now()

// settings are the flags.
type settings struct {
	policy, find, service, cache string
	retry                        bool
	callers                      int
}

func main() {
	var s settings
	flag.StringVar(&s.policy, "policy", "skerry_p2c", "skerry_p2c, p2c_ewma or round_robin")
	flag.StringVar(&s.find, "find", "", "how servers are found: a list of addresses, a URL of client.Open, or gozero://HOSTS of etcd")
	flag.StringVar(&s.service, "service", "work", "name to find by")
	flag.StringVar(&s.cache, "cache", "", "folder for the lists of skerry_p2c")
	flag.BoolVar(&s.retry, "retry", false, "make calls again that fail as UNAVAILABLE")
	flag.IntVar(&s.callers, "callers", 4, "how many connections of their own")
	servers := flag.String("servers", "", "the addresses that records number; default: those of -find")
	rate := flag.Float64("rps", 100, "calls a second of all callers")
	limit := flag.Duration("deadline", 2*time.Second, "of each call, from when it was meant to be sent")
	seed := flag.Uint64("seed", 1, "of what is random")
	flag.Parse()
	if *servers == "" {
		*servers = s.find
	}
	logx.Disable() // go-zero's statistics would be written among the records
	number := map[string]uint8{}
	for n, a := range strings.Split(*servers, ",") {
		number[a] = uint8(n)
	}
	l := &load{rate: *rate, limit: *limit, number: number, random: rand.New(rand.NewPCG(*seed, 2)), out: make(chan work.Record, 1<<14)}
	if err := l.run(&s); err != nil {
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

func (l *load) run(s *settings) error {
	conns, first, err := dial(s)
	if err != nil {
		return err
	}
	l.conns = conns
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	select {
	case <-first:
	case <-ctx.Done():
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
				return err // who reads is gone
			}
		}
	}
}
