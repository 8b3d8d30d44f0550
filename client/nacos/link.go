package nacos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_request"
	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc/rpc_response"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
)

const (
	// lookEvery is how often the SDK is asked whether its connection lives. Without one
	// it is for 100 ms at least, and for less while it makes sure of the one it has.
	lookEvery = 30 * time.Millisecond
	noRight   = 403 // Nacos's NacosException.NO_RIGHT
)

var errLost = errors.New("the connection is lost")

// link is a connection to the cluster, over one wire after another.
type link struct {
	s     *Source
	reset chan struct{} // a server asks to go to another
	ended chan struct{} // closed by close

	mu        sync.Mutex
	wire      *wire
	up        bool
	times     int           // how often it was connected
	changed   chan struct{} // closed when up or times is another
	followers map[*follower]struct{}
	err       error // why there will never be a connection
}

func newLink(s *Source) *link {
	l := &link{
		s: s, reset: make(chan struct{}, 1), ended: make(chan struct{}), changed: make(chan struct{}),
		followers: make(map[*follower]struct{}),
	}
	if l.wire, l.err = newWire(l); l.err == nil {
		go l.run()
	}
	return l
}

// run notices what becomes of the connection, until the link is closed.
func (l *link) run() {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for before := false; ; {
		select {
		case <-look.C:
			up := l.wire.rpc.IsRunning()
			if up || !before {
				l.set(up)
			}
			before = up
		case <-l.reset:
			l.move()
		case <-l.ended:
			l.wire.end()
			return
		}
	}
}

// set notes whether there is a connection.
func (l *link) set(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up == up {
		return
	}
	if l.up = up; up {
		l.times++
	}
	l.tell()
}

// tell tells of a change. Called with l.mu held.
func (l *link) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// move goes to another connection before it leaves the one that it has.
func (l *link) move() {
	next, err := newWire(l)
	if err != nil {
		return
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	late := time.NewTimer(answerWithin)
	defer late.Stop()
	for !next.rpc.IsRunning() {
		select {
		case <-look.C:
		case <-late.C:
			go next.end() // the server may ask again
			return
		case <-l.ended:
			go next.end()
			return
		}
	}
	l.mu.Lock()
	old := l.wire
	l.wire, l.up = next, true
	l.times++
	l.tell()
	l.mu.Unlock()
	old.link.Store(nil)
	time.AfterFunc(answerWithin, old.end) // when all have asked over the new one
}

// close ends the link. It does not wait.
func (l *link) close() { close(l.ended) }

// state returns how often there was a connection, 0 while there is none, and a channel
// that is closed when that changes.
func (l *link) state() (times int, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.up {
		return 0, l.changed
	}
	return l.times, l.changed
}

// connected waits for a connection.
func (l *link) connected(ctx context.Context) (times int, changed <-chan struct{}, err error) {
	if l.err != nil {
		return 0, nil, l.err
	}
	late := time.NewTimer(connectedWithin)
	defer late.Stop()
	for {
		if times, changed = l.state(); times > 0 {
			return times, changed, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-late.C:
			return 0, nil, l.s.whyNot(ctx)
		}
	}
}

// whyNot says why there is no connection, which the SDK does not.
func (s *Source) whyNot(ctx context.Context) error {
	var failed []error
	for _, server := range s.servers {
		at := server.IpAddr + ":" + strconv.FormatUint(server.GrpcPort, 10)
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", at)
		if err == nil {
			conn.Close()
			err = fmt.Errorf("%s takes connections, but is no Nacos that is ready", at)
		}
		failed = append(failed, err)
	}
	return fmt.Errorf("not connected: %w", errors.Join(failed...))
}

// request asks the server. An answer that is no success is an error.
func (l *link) request(ctx context.Context, r rpc_request.IRequest) (rpc_response.IResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*answerWithin)
	defer cancel()
	for again := true; ; again = false {
		token, err := l.s.login.get(ctx)
		if err != nil {
			return nil, err
		}
		if token != "" {
			r.GetHeaders()[constant.KEY_ACCESS_TOKEN] = token
		}
		response, err := l.ask(ctx, r)
		if err != nil {
			return nil, err
		}
		if response.IsSuccess() {
			return response, nil
		}
		if response.GetErrorCode() != noRight || token == "" || !again {
			return nil, fmt.Errorf("%s: code %d: %s", r.GetRequestType(), response.GetErrorCode(), response.GetMessage())
		}
		l.s.login.forget(token)
	}
}

// ask waits no longer than ctx for the SDK, which does not know of it.
func (l *link) ask(ctx context.Context, r rpc_request.IRequest) (rpc_response.IResponse, error) {
	l.mu.Lock()
	w, up, changed := l.wire, l.up, l.changed
	l.mu.Unlock()
	lost := func() bool {
		select {
		case <-changed:
			return true
		default:
			return !w.rpc.IsRunning()
		}
	}
	if !up || lost() {
		return nil, errLost
	}
	type answer struct {
		response rpc_response.IResponse
		err      error
	}
	done := make(chan answer, 1)
	go func() {
		a := answer{err: errLost} // unless the SDK answers
		defer func() { done <- a }()
		a.response, a.err = w.rpc.Request(&attempt{IRequest: r, lost: lost}, answerWithin.Milliseconds())
	}()
	select {
	case a := <-done:
		return a.response, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// attempt is a request as the SDK is given it. The SDK logs one that failed, and tries
// again: it then reads without a lock what it writes when it has connected anew.
// Hence there it ends when the connection is lost.
type attempt struct {
	rpc_request.IRequest
	lost    func() bool
	sending bool // it is about to be sent, not to be logged
}

// GetHeaders implements [rpc_request.IRequest].
func (a *attempt) GetHeaders() map[string]string {
	a.sending = true
	return a.IRequest.GetHeaders()
}

// GetBody implements [rpc_request.IRequest].
func (a *attempt) GetBody(rpc_request.IRequest) string {
	if a.sending {
		a.sending = false
		return a.IRequest.GetBody(a.IRequest)
	}
	time.Sleep(2 * lookEvery) // by then it is known
	if a.lost() {
		runtime.Goexit()
	}
	return ""
}

// push hands a list that the server sent to those who follow it.
func (l *link) push(info *model.Service) {
	name := strings.TrimPrefix(info.Name, info.GroupName+splitter)
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := range l.followers {
		if f.group == info.GroupName && f.name == name {
			f.offer(info, true)
		}
	}
}
