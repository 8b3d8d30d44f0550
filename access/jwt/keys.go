package jwt

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access/outside"
)

// keyCache holds the keys that were fetched, or why they were not, by method and its
// version. However many log in at once, a provider is asked once.
type keyCache struct {
	mu      sync.Mutex
	fetched map[string]fetchedKeys
	under   map[string]*fetching
}

type fetchedKeys struct {
	modified uint64
	at       time.Time // when they came
	tried    time.Time // when they were asked for last
	keys     []any
	err      error
}

// fetching is a fetch under way.
type fetching struct {
	modified uint64
	done     chan struct{}
	fetchedKeys
}

const (
	keysLive    = 5 * time.Minute  // then they are fetched again
	againAfter  = 10 * time.Second // at the earliest, so that bad tokens cannot make us ask all the time
	failedLives = 5 * time.Second  // how long a failure is answered without asking again
	fetchWithin = 8 * time.Second  // of all requests of a fetch; less than a login waits
)

// of returns the keys of a method, and whether asking again may bring others.
func (k *keyCache) of(ctx context.Context, c *Config, m *skerry.AuthMethod, again bool) (keys []any, fetched bool, err error) {
	if len(c.JWTValidationPubKeys) > 0 {
		for _, p := range c.JWTValidationPubKeys {
			key, err := publicKey(p)
			if err != nil {
				return nil, false, err
			}
			keys = append(keys, key)
		}
		return keys, false, nil
	}
	k.mu.Lock()
	have, ok := k.fetched[m.Name]
	age := time.Since(have.at)
	if ok && have.modified == m.Modified {
		switch {
		case have.err != nil && age < failedLives:
			k.mu.Unlock()
			return nil, false, have.err
		case have.err == nil && (time.Since(have.tried) < againAfter || !again && age < keysLive):
			k.mu.Unlock()
			return have.keys, !again && time.Since(have.tried) >= againAfter, nil
		}
	}
	f := k.under[m.Name]
	if f == nil || f.modified != m.Modified {
		f = &fetching{modified: m.Modified, done: make(chan struct{})}
		if k.under == nil {
			k.under, k.fetched = map[string]*fetching{}, map[string]fetchedKeys{}
		}
		k.under[m.Name] = f
		go k.fetch(f, c, m.Name)
	}
	k.mu.Unlock()
	select {
	case <-f.done:
		return f.keys, false, f.err
	case <-ctx.Done():
		return nil, false, skerry.Errorf(skerry.Unavailable, "error fetching the keys of auth method %q: it did not answer in time", m.Name)
	}
}

// fetch asks the provider on behalf of all callers that wait for f. No caller ends it.
func (k *keyCache) fetch(f *fetching, c *Config, method string) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchWithin)
	defer cancel()
	keys, err := c.fetch(ctx)
	if err != nil {
		err = outside.Because(err, "error fetching the keys of auth method %q", method)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	f.fetchedKeys = fetchedKeys{f.modified, now, now, keys, err}
	if k.under[method] == f {
		delete(k.under, method)
		kept := f.fetchedKeys
		if have, ok := k.fetched[method]; err != nil && ok && have.modified == f.modified && have.err == nil && now.Sub(have.at) < keysLive {
			kept = have // a fetch that a bad token causes drops no keys
			kept.tried = now
		}
		k.fetched[method] = kept
	}
	close(f.done)
}

// fetch asks the provider for its keys.
func (c *Config) fetch(ctx context.Context) ([]any, error) {
	url, ca := c.JWKSURL, c.JWKSCACert
	if c.OIDCDiscoveryURL != "" {
		ca = c.OIDCDiscoveryCACert
		var found struct {
			Issuer string `json:"issuer"`
			Keys   string `json:"jwks_uri"`
		}
		if err := ask(ctx, strings.TrimSuffix(c.OIDCDiscoveryURL, "/")+"/.well-known/openid-configuration", ca, &found); err != nil {
			return nil, err
		}
		if strings.TrimSuffix(found.Issuer, "/") != strings.TrimSuffix(c.OIDCDiscoveryURL, "/") {
			cause := fmt.Errorf("the provider's issuer is %q, not %q", found.Issuer, c.OIDCDiscoveryURL)
			return nil, &skerry.Error{Kind: skerry.Unavailable, Message: "it names another issuer", Err: cause}
		}
		url = found.Keys
	}
	var set jose.JSONWebKeySet
	if err := ask(ctx, url, ca, &set); err != nil {
		return nil, err
	}
	var keys []any
	for _, k := range set.Keys {
		// A symmetric key would be one that signs.
		if k.IsPublic() && k.Use != "enc" {
			keys = append(keys, k.Key)
		}
	}
	return keys, nil
}

func ask(ctx context.Context, url, ca string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return skerry.Errorf(skerry.Unavailable, "its address is none")
	}
	return outside.Way{CA: ca, Proxy: true, Redirects: 3}.Ask(req, into)
}
