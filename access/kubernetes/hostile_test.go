package kubernetes_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access/kubernetes"
)

// An API server may send what it likes: a login ends in time, holds little of it, and
// tells its caller neither an address nor a token.
func TestHostileServer(t *testing.T) {
	var stolen atomic.Int32
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stolen.Add(1)
		w.Write([]byte(`{"status":{"authenticated":true,"user":{"username":"system:serviceaccount:kube-system:admin"}}}`))
	}))
	defer thief.Close()
	end := make(chan struct{})
	defer close(end)
	for name, tc := range map[string]struct {
		serve http.HandlerFunc
		ca    string
		fault string
	}{
		"a huge body": {serve: func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(`{"status":{"error":"`))
			for range 1 << 14 {
				if _, err := w.Write([]byte(strings.Repeat("x", 1<<10))); err != nil {
					return
				}
			}
		}, fault: "cannot be read"},
		"a body by drops": {serve: func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write([]byte(" "))
				w.(http.Flusher).Flush()
				select {
				case <-time.After(10 * time.Millisecond):
				case <-end:
					return
				}
			}
		}, fault: "in time"},
		"silence": {serve: func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-end:
			}
		}, fault: "in time"},
		"a redirect": {serve: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
		}, fault: "307"},
		"no JSON":              {serve: func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }, fault: "cannot be read"},
		"JSON of another kind": {serve: func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`[1,2]`)) }, fault: "cannot be read"},
		"a huge header":        {serve: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }, fault: "cannot be reached"},
		"another authority":    {serve: func(http.ResponseWriter, *http.Request) {}, ca: otherCA(t), fault: "not trusted"},
		"an abort":             {serve: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault: "cannot be reached"},
		"nothing":              {serve: func(http.ResponseWriter, *http.Request) {}, fault: "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(tc.serve)
			s.Config.ErrorLog = quiet
			s.StartTLS()
			defer s.CloseClientConnections()
			m := method(s, "own.secret.token")
			if tc.ca != "" {
				m.Config["CACert"] = tc.ca
			}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			started := time.Now()
			_, err := kubernetes.New().Verify(ctx, &m, "bearer.secret.token")
			if took := time.Since(started); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if skerry.KindOf(err) != skerry.Unavailable || !strings.Contains(err.Error(), tc.fault) {
				t.Fatalf("told %v, want %s", err, tc.fault)
			}
			for _, secret := range []string{"127.0.0.1", "https", "secret", "xxxx"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("told %v", err)
				}
			}
		})
	}
	if n := stolen.Load(); n != 0 {
		t.Errorf("%d requests went where the server sent them", n)
	}
}

var quiet = log.New(io.Discard, "", 0)

// otherCA is an authority that signed nothing here.
func otherCA(t *testing.T) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// A server that hangs holds so many logins and no more; others wait, and end in time.
func TestHangingServerHoldsFew(t *testing.T) {
	var now, most atomic.Int32
	s := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then the end of the connection is seen
		n := now.Add(1)
		for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
		}
		<-r.Context().Done()
		now.Add(-1)
	}))
	defer s.Close()
	m := method(s, ours)
	v := kubernetes.New()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	ended := make(chan error, 150)
	for range cap(ended) {
		go func() {
			_, err := v.Verify(ctx, &m, "pod")
			ended <- err
		}()
	}
	for range cap(ended) {
		if err := <-ended; skerry.KindOf(err) != skerry.Unavailable {
			t.Errorf("told %v", err)
		}
	}
	if n := most.Load(); n > 32 {
		t.Errorf("%d were asked at once", n)
	}
}
