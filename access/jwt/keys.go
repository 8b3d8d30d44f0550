package jwt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/skerryhq/skerry"
)

// keyCache holds the keys that were fetched, by method and its version.
type keyCache struct {
	mu      sync.Mutex
	fetched map[string]fetchedKeys
}

type fetchedKeys struct {
	modified uint64
	at       time.Time
	keys     []any
}

const (
	keysLive   = 5 * time.Minute  // then they are fetched again
	againAfter = 10 * time.Second // at the earliest, so that bad tokens cannot make us ask all the time
	maxAnswer  = 1 << 20
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
	k.mu.Unlock()
	age := time.Since(have.at)
	if ok && have.modified == m.Modified && (age < againAfter || !again && age < keysLive) {
		return have.keys, !again && age >= againAfter, nil
	}
	keys, err = c.fetch(ctx)
	if err != nil {
		return nil, false, skerry.Errorf(skerry.Unavailable, "error fetching the keys of auth method %q: %w", m.Name, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fetched == nil {
		k.fetched = map[string]fetchedKeys{}
	}
	k.fetched[m.Name] = fetchedKeys{m.Modified, time.Now(), keys}
	return keys, false, nil
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
			return nil, fmt.Errorf("the provider says that its issuer is %q, not %q", found.Issuer, c.OIDCDiscoveryURL)
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
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	if ca != "" {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(ca))
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into)
}
