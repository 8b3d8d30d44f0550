package dns

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// A recursor may lead back to us: it is one of our own addresses, or it passes our
// questions back to us. The first case is detected by the addresses. For the second each
// recursor is asked for a random name; if that comes back as a question, the recursor is
// left out until a later probe does not come back.
const (
	probeZone     = "skerry-loop-probe."
	probeInterval = 5 * time.Minute
)

// paths tracks the recursors that lead back to us.
type paths struct {
	own  []netip.AddrPort // that we listen on; under Server.mu
	told map[string]bool  // recursors that were logged as ours; under Server.mu

	probing atomic.Bool
	again   chan struct{} // requests an early probe
	pending sync.Map      // name of a probe → *probe
	looping sync.Map      // address of a recursor → true
}

type probe struct {
	recursor string
	came     atomic.Bool
}

// loops reports whether a recursor leads back to us.
func (p *paths) loops(recursor string) bool {
	_, ok := p.looping.Load(recursor)
	return ok
}

// returned reports whether a question, in lower case, is a probe of ours.
func (s *Server) returned(name string) bool {
	if !strings.HasSuffix(name, probeZone) {
		return false
	}
	v, ok := s.paths.pending.Load(name)
	if !ok {
		return false // another server's
	}
	p := v.(*probe)
	p.came.Store(true)
	s.mark(p.recursor, true)
	return true
}

// mark notes whether a recursor leads back to us, and logs a change.
func (s *Server) mark(recursor string, back bool) {
	if back {
		if _, was := s.paths.looping.LoadOrStore(recursor, true); !was {
			s.metrics.loops.Inc()
			s.log.Warn("recursors: a server passes our questions back to us and is not asked: name another, or end its forwarding of all names to this one", "recursor", recursor)
		}
	} else if _, was := s.paths.looping.LoadAndDelete(recursor); was {
		s.metrics.loops.Dec()
		s.log.Info("recursor leads back to us no more", "recursor", recursor)
	}
}

// probe asks all recursors now, after each reload and from time to time whether they
// lead back to us, until ctx ends.
func (s *Server) probe(ctx context.Context) {
	if !s.paths.probing.CompareAndSwap(false, true) {
		return // another call of Serve does it
	}
	defer s.paths.probing.Store(false)
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for {
		s.probeAll(ctx, s.state.Load())
		select {
		case <-ctx.Done():
			return
		case <-s.paths.again:
		case <-ticker.C:
		}
	}
}

func (s *Server) probeAll(ctx context.Context, st *state) {
	s.paths.looping.Range(func(recursor, _ any) bool {
		if !slices.Contains(st.recursors, recursor.(string)) {
			s.mark(recursor.(string), false) // a reload has removed it
		}
		return true
	})
	var wg sync.WaitGroup
	for _, r := range st.recursors {
		wg.Go(func() { s.probeOne(ctx, st, r) })
	}
	wg.Wait()
}

func (s *Server) probeOne(ctx context.Context, st *state, recursor string) {
	var random [16]byte
	rand.Read(random[:])
	name := hex.EncodeToString(random[:]) + "." + probeZone
	p := &probe{recursor: recursor}
	s.paths.pending.Store(name, p)
	defer s.paths.pending.Delete(name)
	msg := new(dns.Msg)
	msg.SetQuestion(name, dns.TypeA)
	// Without an answer the state of the recursor does not change.
	if _, err := exchange(ctx, st, msg, "udp", recursor); err == nil && !p.came.Load() {
		s.mark(recursor, false)
	}
}

// listensOn notes an address as one of ours.
func (s *Server) listensOn(packet net.PacketConn, stream net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range []interface{ AddrPort() netip.AddrPort }{udpAddr(packet), tcpAddr(stream)} {
		if a := at.AddrPort(); a.IsValid() && !slices.Contains(s.paths.own, a) {
			s.paths.own = append(s.paths.own, a)
		}
	}
	s.renew()
}

func udpAddr(c net.PacketConn) *net.UDPAddr {
	if c == nil {
		return nil
	}
	a, _ := c.LocalAddr().(*net.UDPAddr)
	return a
}

func tcpAddr(l net.Listener) *net.TCPAddr {
	if l == nil {
		return nil
	}
	a, _ := l.Addr().(*net.TCPAddr)
	return a
}

// renew rebuilds the state, without the recursors that are our own addresses. It is called
// with mu held.
func (s *Server) renew() {
	st := newState(s.self, s.given)
	st.Log = s.log
	told := map[string]bool{}
	var local []netip.Addr
	st.recursors = slices.DeleteFunc(st.recursors, func(r string) bool {
		at, err := netip.ParseAddrPort(r)
		if err != nil {
			return false // a host name; the probe finds out
		}
		if local == nil {
			local = localAddresses()
		}
		own := slices.IndexFunc(s.paths.own, func(own netip.AddrPort) bool { return reaches(at, own, local) })
		if own < 0 {
			return false
		}
		if told[r] = true; !s.paths.told[r] {
			s.log.Warn("recursors: an address is this server's own and is left out: name another server, or remove it", "recursor", r, "listener", s.paths.own[own])
		}
		return true
	})
	s.metrics.loops.Add(float64(len(told) - len(s.paths.told)))
	s.paths.told = told
	s.state.Store(st)
}

// reaches reports whether packets to an address come to a listener of ours.
func reaches(to, own netip.AddrPort, local []netip.Addr) bool {
	if to.Port() != own.Port() {
		return false
	}
	t, o := to.Addr().Unmap(), own.Addr().Unmap()
	switch {
	case t == o:
		return true
	case t.IsUnspecified():
		return o.IsLoopback() || o.IsUnspecified() // the system takes it for this host
	case !o.IsUnspecified() || o.Is4() && t.Is6():
		return false
	}
	return t.IsLoopback() || slices.Contains(local, t)
}

// localAddresses are the addresses of this host.
func localAddresses() (out []netip.Addr) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil // the probe finds out later
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}
