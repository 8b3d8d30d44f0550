package jwt_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access/jwt"
)

// However many log in while the provider hangs, it is asked once; and its address is
// told to none of them.
func TestHangingProviderIsAskedOnce(t *testing.T) {
	var asked atomic.Int32
	end := make(chan struct{})
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		<-end
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer idp.Close()
	v := jwt.New()
	m := &skerry.AuthMethod{Name: "m", Type: "jwt", Config: config(map[string]any{"JWKSURL": idp.URL + "/keys"})}
	key, _ := newKey(t)
	bearer := sign(t, key, with(nil))
	login := func(ctx context.Context) {
		_, err := v.Verify(ctx, m, bearer)
		if skerry.KindOf(err) != skerry.Unavailable || strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "http") {
			t.Errorf("told %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for range 150 {
		all.Go(func() { login(ctx) })
	}
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("150 logins asked %d times", n)
	}
	close(end)
	for range 20 { // the failure is remembered
		login(t.Context())
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("after a failure it was asked %d times", n)
	}
}
