package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Source finds instances. Implementations need not be able to do more than that;
// one that also takes registrations is a [Registry].
type Source interface {
	// Watch yields all instances of a service, and again after every change, until ctx
	// ends or the caller stops. An error means that the source does not answer now, never
	// that there are no instances. After an error the source tries again by itself, with
	// growing pauses, and goes on yielding.
	Watch(ctx context.Context, service string) iter.Seq2[Update, error]
}

// Update is the list of a service's instances as a source has it, with the evidence that
// it is complete.
type Update struct {
	// Instances are all that there are; draining ones are among them.
	Instances []Instance
	// Revision grows with every change of the source's data; 0 where it has none. One
	// that falls means that the source has lost data.
	Revision uint64
	// Epoch names the history that Revision belongs to, such as a cluster's ID. A
	// different one means that the data is another's; "" where the source has none.
	Epoch string
	// Left are the IDs of instances that withdrew by themselves since the last
	// update. They are gone at once, even when they were the last.
	Left []string
	// Proven means that the source vouches for everything that is missing: its owners
	// withdrew it.
	Proven bool
	// Unsettled means that the source itself is incomplete, since it has just started or
	// has lost sight of a part: it does not prove that an instance is gone.
	Unsettled bool
	// Stale is why the list may be older than it should be though the source answers, as an
	// agent does that reaches no server; nil where it is current. The list is frozen then.
	Stale error
	// Position is the caller's place among all callers of the service, for [lb.Subset]: above 0 and below 1;
	// 0 where the source hands none out.
	Position float64
}

// Registry is a source that takes registrations.
type Registry interface {
	Source
	// Announce registers an instance and keeps it registered: it renews, and registers
	// again after any loss, until Withdraw. It does not block. report is called with each
	// success (nil) and failure, one after another.
	Announce(i Instance, ttl time.Duration, report func(error)) Announcement
}

// Announcement is an instance that is kept registered.
type Announcement interface {
	// Withdraw ends the registration. A registry that knows its readers lets the instance drain
	// first: new calls do not go there any more, and it is withdrawn when all readers have the
	// list without it, or when the time drain is over. Other registries withdraw it at once.
	Withdraw(ctx context.Context, drain time.Duration) (Withdrawal, error)
}

// Withdrawal is how a registration ended. The zero value is that of a registry that cannot say
// when callers know.
type Withdrawal struct {
	// Safe means that no caller has the instance in its list any more.
	Safe bool
	// Counted means that the registry has waited for the readers, and counted them: those that
	// have the list without the instance, those that may have the one with it, and those that
	// went away.
	Counted              bool
	Acked, Pending, Gone int
	// Waiting names those that are pending, in the registry's words.
	Waiting []string
}

// Opener makes a source of a URL with the scheme that it was registered for.
type Opener func(l Location) (Source, error)

var (
	schemesMu sync.Mutex
	schemes   = map[string]Opener{"direct": openDirect}
)

// RegisterScheme makes a source known to [Open]. Packages of sources call it when they
// are imported; the last one wins.
func RegisterScheme(scheme string, open Opener) {
	schemesMu.Lock()
	defer schemesMu.Unlock()
	schemes[scheme] = open
}

// Open returns a client of the source that a URL names, such as
// "skerry://127.0.0.1:8500". The source's package must be imported.
func Open(rawURL string, opts ...Option) (*Client, error) {
	source, err := OpenSource(rawURL)
	if err != nil {
		return nil, err
	}
	c := New(source, opts...)
	c.o.place = place(rawURL)
	return c, nil
}

// place returns a short name of a registry, whichever client asks there: a service may
// have its name in several registries.
func place(rawURL string) string {
	l, err := ParseLocation(rawURL)
	if err != nil {
		return ""
	}
	for _, secret := range []string{"token", "password"} {
		l.Query.Del(secret)
	}
	slices.Sort(l.Hosts)
	sum := sha256.Sum256(fmt.Appendf(nil, "%s://%s/%s?%s", l.Scheme, strings.Join(l.Hosts, ","), l.Path, l.Query.Encode()))
	return hex.EncodeToString(sum[:6])
}

// OpenSource returns the source that a URL names.
func OpenSource(rawURL string) (Source, error) {
	l, err := ParseLocation(rawURL)
	if err != nil {
		return nil, err
	}
	schemesMu.Lock()
	open := schemes[l.Scheme]
	schemesMu.Unlock()
	if open == nil {
		return nil, fmt.Errorf("client: no source for the scheme %q is imported (there are: %s)", l.Scheme, strings.Join(Schemes(), ", "))
	}
	return open(l)
}

// Location is a URL that may name several hosts, which [net/url] does not take.
type Location struct {
	Scheme string
	User   *url.Userinfo
	Hosts  []string // host:port each, in order; empty ones are left out
	Path   string   // without the leading slash
	Query  url.Values
}

// ParseLocation takes a URL such as "skerry://a:8500,b:8500/?token=T" apart.
func ParseLocation(rawURL string) (Location, error) {
	fail := func(why string) (Location, error) {
		return Location{}, fmt.Errorf("client: %q is not a URL such as skerry://127.0.0.1:8500: %s", Redact(rawURL), why)
	}
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok || scheme == "" {
		return fail("it has no scheme")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	hosts := rest[:end]
	user := ""
	if at := strings.LastIndexByte(hosts, '@'); at >= 0 {
		user, hosts = hosts[:at+1], hosts[at+1:]
	}
	u, err := url.Parse(scheme + "://" + user + "host" + rest[end:])
	if err != nil || u.Scheme != strings.ToLower(scheme) {
		return fail("its scheme, path, query or user cannot be read")
	}
	l := Location{Scheme: u.Scheme, User: u.User, Path: strings.TrimPrefix(u.Path, "/"), Query: u.Query()}
	for host := range strings.SplitSeq(hosts, ",") {
		if host = strings.TrimSpace(host); host != "" {
			l.Hosts = append(l.Hosts, host)
		}
	}
	return l, nil
}

// URL is the inverse of [ParseLocation]. It includes the secrets.
func (l Location) URL() string {
	out := l.Scheme + "://"
	if l.User != nil {
		out += l.User.String() + "@"
	}
	out += strings.Join(l.Hosts, ",") + (&url.URL{Path: "/" + l.Path}).EscapedPath()
	if len(l.Query) > 0 {
		out += "?" + l.Query.Encode()
	}
	return out
}

// Redact removes possible secrets from a URL: the user and the query.
func Redact(rawURL string) string {
	rawURL, _, _ = strings.Cut(rawURL, "?")
	if scheme, rest, ok := strings.Cut(rawURL, "://"); ok {
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			return scheme + "://…@" + rest[at+1:]
		}
	}
	return rawURL
}
