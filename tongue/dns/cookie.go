package dns

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dchest/siphash"
	"github.com/miekg/dns"
)

// Cookies are those of RFC 7873, in the form of RFC 9018.
const (
	clientCookie  = 8  // bytes
	serverCookie  = 16 // bytes of ours; those of others have 8 to 32
	cookieVersion = 1
	cookieAge     = time.Hour       // then a cookie is invalid
	cookieAhead   = 5 * time.Minute // how far its time may be in the future
	cookieSecret  = 24 * time.Hour  // how long a secret makes cookies; it is accepted for as long again
)

// cookies makes and checks server cookies. The zero value is ready.
type cookies struct {
	secrets atomic.Pointer[cookieSecrets]
	mu      sync.Mutex // held to change secrets
}

type cookieSecrets struct {
	since         time.Time
	present, past [16]byte
}

// at returns the valid secrets at a time.
func (c *cookies) at(now time.Time) *cookieSecrets {
	if s := c.secrets.Load(); s != nil && now.Sub(s.since) < cookieSecret {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.secrets.Load()
	if old != nil && now.Sub(old.since) < cookieSecret {
		return old
	}
	next := &cookieSecrets{since: now}
	rand.Read(next.present[:])
	rand.Read(next.past[:]) // matches no cookie, if there was no secret before
	if old != nil {
		next.past = old.present
	}
	c.secrets.Store(next)
	return next
}

// bake makes the server cookie for a client's cookie and address.
func bake(secret *[16]byte, client []byte, ip netip.Addr, at uint32) (out [serverCookie]byte) {
	out[0] = cookieVersion
	binary.BigEndian.PutUint32(out[4:], at)
	seal(secret, client, ip, &out)
	return out
}

// seal writes the hash of the other fields into a server cookie.
func seal(secret *[16]byte, client []byte, ip netip.Addr, out *[serverCookie]byte) {
	var room [clientCookie + 8 + 16]byte
	b := append(append(room[:0], client...), out[:8]...)
	if ip.Is4() {
		a := ip.As4()
		b = append(b, a[:]...)
	} else {
		a := ip.As16()
		b = append(b, a[:]...)
	}
	key := binary.LittleEndian
	binary.LittleEndian.PutUint64(out[8:], siphash.Hash(key.Uint64(secret[:]), key.Uint64(secret[8:]), b))
}

// valid reports whether a server cookie is one of ours for this client, and fresh.
func (s *cookieSecrets) valid(client, server []byte, ip netip.Addr, now time.Time) bool {
	if len(server) != serverCookie || server[0] != cookieVersion {
		return false
	}
	// The times are compared as serial numbers (RFC 1982), so they outlive 2106.
	age := time.Duration(int32(uint32(now.Unix())-binary.BigEndian.Uint32(server[4:]))) * time.Second
	if age > cookieAge || age < -cookieAhead {
		return false
	}
	for _, secret := range []*[16]byte{&s.present, &s.past} {
		want := [serverCookie]byte(server)
		seal(secret, client, ip, &want)
		if subtle.ConstantTimeCompare(want[:], server) == 1 {
			return true
		}
	}
	return false
}

// takeCookie reads the question's cookie, the first if there are several, and makes
// the answer's. A cookie of a wrong length is malformed.
func (s *Server) takeCookie(q *question, opt *dns.OPT, now time.Time) {
	for _, o := range opt.Option {
		option, ok := o.(*dns.EDNS0_COOKIE)
		if !ok {
			continue
		}
		raw, err := hex.DecodeString(option.Cookie)
		if n := len(raw); err != nil || n != clientCookie && (n < clientCookie+8 || n > clientCookie+32) {
			q.badCookie = true
			s.metrics.cookieMalformed.Inc()
			return
		}
		client, server := raw[:clientCookie], raw[clientCookie:]
		secrets := s.cookies.at(now)
		q.cookieValid = secrets.valid(client, server, q.peer, now)
		switch {
		case q.cookieValid:
			s.metrics.cookieValid.Inc()
		case len(server) == 0:
			s.metrics.cookieNew.Inc()
		default:
			s.metrics.cookieInvalid.Inc()
		}
		fresh := bake(&secrets.present, client, q.peer, uint32(now.Unix()))
		q.env.cookie = hex.EncodeToString(append(client[:clientCookie:clientCookie], fresh[:]...))
		return
	}
}

// withoutCookies returns the options except cookies: these are between two neighbours
// and never passed on.
func withoutCookies(options []dns.EDNS0) []dns.EDNS0 {
	var out []dns.EDNS0
	for _, o := range options {
		if o.Option() != dns.EDNS0COOKIE {
			out = append(out, o)
		}
	}
	return out
}

// onward returns the question for recursors.
func onward(msg *dns.Msg) *dns.Msg {
	opt := msg.IsEdns0()
	if opt == nil || len(opt.Option) == 0 {
		return msg
	}
	out, own := *msg, *opt
	own.Option = withoutCookies(opt.Option)
	out.Extra = append(withoutOPT(msg.Extra), &own)
	return &out
}
