// Package kubernetes is the auth method for pods: the API server checks a service
// account's token and names its owner.
package kubernetes

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/access/outside"
)

// Config is a method's Config, with Consul's names.
type Config struct {
	Host              string // of the API server, an https address
	CACert            string // PEM, of the API server's certificate
	ServiceAccountJWT string // with which we ask; it needs system:auth-delegator and to read service accounts
}

// nameAnnotation of a service account stands for its name.
const nameAnnotation = "consul.hashicorp.com/service-name"

// Verifier implements [access.Verifier].
type Verifier struct {
	mu    sync.Mutex
	turns map[string]chan struct{} // by method
}

// New returns the verifier.
func New() *Verifier { return &Verifier{} }

// fields are the names in selectors.
type fields struct {
	ServiceAccount account `bexpr:"serviceaccount"`
}

type account struct {
	Namespace string `bexpr:"namespace"`
	Name      string `bexpr:"name"`
	UID       string `bexpr:"uid"`
}

func (a account) verified() access.Verified {
	return access.Verified{Fields: fields{a}, Vars: map[string]string{
		"serviceaccount.namespace": a.Namespace, "serviceaccount.name": a.Name, "serviceaccount.uid": a.UID,
	}}
}

// Check implements [access.Verifier].
func (v *Verifier) Check(m *skerry.AuthMethod) error {
	c, err := access.Configured[Config](m)
	if err != nil {
		return err
	}
	switch u, err := url.Parse(c.Host); {
	case c.Host == "":
		return skerry.Errorf(skerry.Invalid, "Config.Host is required")
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return skerry.Errorf(skerry.Invalid, "Config.Host %q is not an address like https://10.0.0.1:6443", c.Host)
	case c.CACert == "":
		return skerry.Errorf(skerry.Invalid, "Config.CACert is required")
	case !x509.NewCertPool().AppendCertsFromPEM([]byte(c.CACert)):
		return skerry.Errorf(skerry.Invalid, "Config.CACert holds no PEM certificate")
	case c.ServiceAccountJWT == "":
		return skerry.Errorf(skerry.Invalid, "Config.ServiceAccountJWT is required")
	case strings.Count(c.ServiceAccountJWT, ".") != 2:
		return skerry.Errorf(skerry.Invalid, "Config.ServiceAccountJWT is not a valid JWT")
	}
	return nil
}

// Shape implements [access.Verifier].
func (v *Verifier) Shape(*skerry.AuthMethod) access.Verified { return account{}.verified() }

// review is a TokenReview of authentication.k8s.io/v1.
type review struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Spec       reviewSpec   `json:"spec"`
	Status     reviewStatus `json:"status"`
}

type reviewSpec struct {
	Token string `json:"token"`
}

type reviewStatus struct {
	Authenticated bool   `json:"authenticated"`
	Error         string `json:"error"`
	User          struct {
		Username string   `json:"username"`
		UID      string   `json:"uid"`
		Groups   []string `json:"groups"`
	} `json:"user"`
}

// Verify implements [access.Verifier].
func (v *Verifier) Verify(ctx context.Context, m *skerry.AuthMethod, bearer string) (access.Verified, error) {
	c, err := access.Configured[Config](m)
	if err != nil {
		return access.Verified{}, err
	}
	done, err := v.turn(ctx, m.Name)
	if err != nil {
		return access.Verified{}, err
	}
	defer done()
	asked := review{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview", Spec: reviewSpec{bearer}}
	var told review
	if err := c.ask(ctx, http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews", asked, &told); err != nil {
		return access.Verified{}, outside.Because(err, "the API server of auth method %q cannot review the token", m.Name)
	}
	if told.Status.Error != "" || !told.Status.Authenticated {
		return access.Verified{}, skerry.Errorf(skerry.Denied, "Permission denied: lookup failed: service account jwt not valid")
	}
	rest, ok := strings.CutPrefix(told.Status.User.Username, "system:serviceaccount:")
	namespace, name, both := strings.Cut(rest, ":")
	if !ok || !both {
		return access.Verified{}, skerry.Errorf(skerry.Denied, "Permission denied: the token is not of a service account")
	}
	a := account{Namespace: namespace, Name: name, UID: told.Status.User.UID}
	var described struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	path := "/api/v1/namespaces/" + url.PathEscape(namespace) + "/serviceaccounts/" + url.PathEscape(name)
	if err := c.ask(ctx, http.MethodGet, path, nil, &described); err != nil {
		return access.Verified{}, outside.Because(err, "annotation lookup failed")
	}
	if as := described.Metadata.Annotations[nameAnnotation]; as != "" {
		a.Name = as
	}
	return a.verified(), nil
}

// maxReviews is how many logins of one method are reviewed at once: an API server
// that hangs must not hold everything of ours. The others wait their turn.
const maxReviews = 32

// turn waits for one of a method's turns; done gives it back.
func (v *Verifier) turn(ctx context.Context, method string) (done func(), err error) {
	v.mu.Lock()
	turns := v.turns[method]
	if turns == nil {
		turns = make(chan struct{}, maxReviews)
		if v.turns == nil {
			v.turns = map[string]chan struct{}{}
		}
		v.turns[method] = turns
	}
	v.mu.Unlock()
	select {
	case turns <- struct{}{}:
		return func() { <-turns }, nil
	case <-ctx.Done():
		return nil, skerry.Errorf(skerry.Unavailable, "the API server of auth method %q cannot review the token: it did not answer in time", method)
	}
}

func (c *Config) ask(ctx context.Context, method, path string, body, into any) error {
	var send io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Host, "/")+path, send)
	if err != nil {
		return skerry.Errorf(skerry.Unavailable, "its address is none")
	}
	req.Header.Set("Authorization", "Bearer "+c.ServiceAccountJWT)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	// A redirect would take both tokens elsewhere: none is followed.
	return outside.Way{CA: c.CACert}.Ask(req, into)
}
