package nacos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"
	"github.com/nacos-group/nacos-sdk-go/v2/model"

	"github.com/skerryhq/skerry/client"
)

// checkEvery is how often the server is asked whether it has the connection, as the
// SDK does.
const checkEvery = 5 * time.Second

// link is a connection to the cluster, over one wire after another.
type link struct {
	s      *Source
	cancel context.CancelFunc
	reset  chan *wire // whose server asks to go to another

	mu        sync.Mutex
	wire      *wire         // nil while there is none
	times     int           // how often it was connected
	err       error         // why there is none; nil before the first attempts have failed
	changed   chan struct{} // closed when any of these is another
	followers map[*follower]struct{}
}

func newLink(s *Source) *link {
	ctx, cancel := context.WithCancel(context.Background())
	l := &link{
		s: s, cancel: cancel, reset: make(chan *wire, 1), changed: make(chan struct{}),
		followers: make(map[*follower]struct{}),
	}
	go l.run(ctx)
	return l
}

// close ends the link. It does not wait.
func (l *link) close() { l.cancel() }

// run connects, and connects again, until ctx ends.
func (l *link) run(ctx context.Context) {
	var pause client.Backoff
	for ctx.Err() == nil {
		w, err := l.connect(ctx)
		if err == nil {
			pause.Reset()
			l.set(w, nil)
			err = l.hold(ctx, w)
		}
		l.set(nil, err)
		pause.Wait(ctx)
	}
}

// connect connects to any of the servers, beginning with one by chance.
func (l *link) connect(ctx context.Context) (*wire, error) {
	var failed []error
	first := rand.IntN(len(l.s.servers))
	for n := range l.s.servers {
		w, err := l.dial(ctx, l.s.servers[(first+n)%len(l.s.servers)].grpc())
		if err == nil {
			return w, nil
		}
		failed = append(failed, err)
	}
	return nil, fmt.Errorf("not connected: %w", errors.Join(failed...))
}

// hold waits until the connection breaks, and returns why. If its server asks for it, it
// connects to another server before it leaves this one.
func (l *link) hold(ctx context.Context, w *wire) error {
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for {
		select {
		case <-w.dead:
			return w.err
		case <-check.C:
			within, cancel := context.WithTimeout(ctx, answerWithin)
			if err := w.check(within); err != nil {
				w.fail(fmt.Errorf("%w: %w", errLost, err))
			}
			cancel()
		case from := <-l.reset:
			if from != w {
				continue
			}
			next, err := l.connect(ctx)
			if err != nil {
				continue // the server may ask again
			}
			l.set(next, nil)
			go func() {
				select {
				case <-time.After(answerWithin): // when all have asked over the next one
				case <-ctx.Done():
				}
				from.fail(errLost)
			}()
			w = next
		case <-ctx.Done():
			w.fail(ctx.Err())
			return ctx.Err()
		}
	}
}

// asked is called when a server asks to go to another.
func (l *link) asked(w *wire) {
	select {
	case l.reset <- w:
	default: // it is at it
	}
}

// set notes the connection, or why there is none.
func (l *link) set(w *wire, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wire, l.err = w, err; w != nil {
		l.times++
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// state returns how often there was a connection, a channel that is closed when that
// changes, and why there is none now.
func (l *link) state() (times int, changed <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.times, l.changed, l.err
}

// connected waits for a connection, or until there cannot be one now.
func (l *link) connected(ctx context.Context) (times int, changed <-chan struct{}, err error) {
	for {
		times, changed, err = l.state()
		if times > 0 || err != nil {
			return times, changed, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		}
	}
}

// request asks the server, which has to answer with that kind.
func (l *link) request(ctx context.Context, r rpc_request.IRequest, kind string) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	l.mu.Lock()
	w, err := l.wire, l.err
	l.mu.Unlock()
	if w == nil {
		if err == nil {
			err = errLost
		}
		return nil, err
	}
	for again := true; ; again = false {
		token, err := l.s.login.get(ctx)
		if err != nil {
			return nil, err
		}
		if token != "" {
			r.GetHeaders()[constant.KEY_ACCESS_TOKEN] = token
		}
		a, err := w.call(ctx, r, kind)
		var refused *refusal
		if !errors.As(err, &refused) {
			return a, err
		}
		if refused.code == unregistered {
			w.fail(fmt.Errorf("%w: %w", errLost, err))
		}
		if refused.code != noRight || token == "" || !again {
			return nil, err
		}
		l.s.login.forget(token)
	}
}

// push hands a list that a server sent to its followers.
func (l *link) push(from *wire, info *model.Service) {
	name := strings.TrimPrefix(info.Name, info.GroupName+splitter)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wire != from && l.wire != nil {
		return // of a server that has been left
	}
	for f := range l.followers {
		if f.group == info.GroupName && f.name == name {
			f.offer(info, true)
		}
	}
}
