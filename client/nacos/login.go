package nacos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/skerryhq/skerry/client"
)

// login gets the token that goes with each request. The SDK's own keeps a token that
// the server does not take any more until it would have expired, and brings the program
// down when a reply is not what it expects.
type login struct {
	urls   []string
	form   url.Values
	client *http.Client

	mu    sync.Mutex // held while one asks for all
	token string
	until time.Time
}

// mostReply is more than any reply to a login.
const mostReply = 1 << 20

// newLogin returns nil where there is no user.
func newLogin(l client.Location, s *Source) *login {
	if l.User == nil || l.User.Username() == "" {
		return nil
	}
	password, _ := l.User.Password()
	g := &login{form: url.Values{"username": {l.User.Username()}, "password": {password}}}
	scheme, transport := "http", &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	if s.tls != nil {
		scheme, transport.TLSClientConfig = "https", s.tls.Clone()
	}
	g.client = &http.Client{Transport: transport, Timeout: answerWithin}
	path := strings.Trim(l.Path, "/")
	if path == "" {
		path = "nacos"
	}
	for _, server := range s.servers {
		g.urls = append(g.urls, scheme+"://"+server.http()+"/"+path+"/v1/auth/users/login")
	}
	return g
}

// get returns the token, "" where none is needed.
func (g *login) get(ctx context.Context) (string, error) {
	if g == nil {
		return "", nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.token != "" && time.Now().Before(g.until) {
		return g.token, nil
	}
	var failed []error
	for _, at := range g.urls {
		token, ttl, err := g.ask(ctx, at)
		if err == nil {
			g.token, g.until = token, time.Now().Add(ttl*8/10)
			return token, nil
		}
		failed = append(failed, err)
	}
	return "", fmt.Errorf("login: %w", errors.Join(failed...))
}

// forget drops a token that the server no longer takes.
func (g *login) forget(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.token == token {
		g.token = ""
	}
}

func (g *login) ask(ctx context.Context, at string) (token string, ttl time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(g.form.Encode()))
	if err != nil {
		return "", 0, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := g.client.Do(r)
	if err != nil {
		return "", 0, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, mostReply))
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w", at, err)
	}
	var reply struct {
		AccessToken string `json:"accessToken"`
		TokenTTL    int64  `json:"tokenTtl"` // seconds
	}
	if answer.StatusCode != http.StatusOK {
		return "", 0, fmt.Errorf("%s: %s: %.200s", at, answer.Status, body)
	}
	if err := json.Unmarshal(body, &reply); err != nil || reply.AccessToken == "" {
		return "", 0, fmt.Errorf("%s: the reply holds no token", at)
	}
	return reply.AccessToken, time.Duration(max(reply.TokenTTL, 0)) * time.Second, nil
}
