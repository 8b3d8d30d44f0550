package kubernetes

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// access is how the API server is reached.
type access struct {
	server    string
	namespace string // "" where nothing says
	tls       *tls.Config
	token     string // or
	tokenFile string // read anew for each request: tokens are short-lived
}

const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// inCluster is a pod's access, by its service account.
func inCluster(dir string, getenv func(string) string) (*access, error) {
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if host == "" {
		return nil, errors.New("this is no pod, KUBERNETES_SERVICE_HOST is not set: name ?kubeconfig=FILE or ?server=URL")
	}
	a := &access{server: "https://" + net.JoinHostPort(host, cmp.Or(port, "443")), tokenFile: filepath.Join(dir, "token"), tls: &tls.Config{}}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, err
	}
	if err := a.trust(ca); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "ca.crt"), err)
	}
	if namespace, err := os.ReadFile(filepath.Join(dir, "namespace")); err == nil {
		a.namespace = strings.TrimSpace(string(namespace))
	}
	return a, nil
}

func (a *access) trust(pem []byte) error {
	a.tls.RootCAs = x509.NewCertPool()
	if !a.tls.RootCAs.AppendCertsFromPEM(pem) {
		return errors.New("there is no certificate in PEM")
	}
	return nil
}

// kubeconfig is what we read of kubectl's configuration file.
type kubeconfig struct {
	CurrentContext string `json:"current-context"`
	Contexts       []struct {
		Name    string
		Context struct{ Cluster, User, Namespace string }
	}
	Clusters []struct {
		Name    string
		Cluster struct {
			Server     string
			CA         string `json:"certificate-authority"`
			CAData     []byte `json:"certificate-authority-data"`
			ServerName string `json:"tls-server-name"`
			Insecure   bool   `json:"insecure-skip-tls-verify"`
		}
	}
	Users []struct {
		Name string
		User kubeconfigUser
	}
}

type kubeconfigUser struct {
	Token        string
	TokenFile    string `json:"tokenFile"`
	Cert         string `json:"client-certificate"`
	CertData     []byte `json:"client-certificate-data"`
	Key          string `json:"client-key"`
	KeyData      []byte `json:"client-key-data"`
	Exec         any
	AuthProvider any `json:"auth-provider"`
	Username     string
}

// fromKubeconfig reads the access that a context of a file says; "" is the current one.
func fromKubeconfig(file, context string) (*access, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	var k kubeconfig
	if err := yaml.Unmarshal(data, &k); err != nil {
		return nil, fmt.Errorf("kubeconfig: %s: %w", file, err)
	}
	context = cmp.Or(context, k.CurrentContext)
	for _, c := range k.Contexts {
		if c.Name == context {
			a := &access{namespace: c.Context.Namespace, tls: &tls.Config{}}
			if err := k.cluster(a, c.Context.Cluster, filepath.Dir(file)); err != nil {
				return nil, fmt.Errorf("kubeconfig: %s: %w", file, err)
			}
			if err := k.user(a, c.Context.User, filepath.Dir(file)); err != nil {
				return nil, fmt.Errorf("kubeconfig: %s: %w", file, err)
			}
			return a, nil
		}
	}
	return nil, fmt.Errorf("kubeconfig: %s has no context %q", file, context)
}

// cluster takes the named cluster in. Files are relative to dir.
func (k *kubeconfig) cluster(a *access, name, dir string) error {
	for _, c := range k.Clusters {
		if c.Name != name {
			continue
		}
		a.server, a.tls.ServerName, a.tls.InsecureSkipVerify = c.Cluster.Server, c.Cluster.ServerName, c.Cluster.Insecure
		ca := c.Cluster.CAData
		if len(ca) == 0 && c.Cluster.CA != "" {
			var err error
			if ca, err = os.ReadFile(beside(dir, c.Cluster.CA)); err != nil {
				return err
			}
		}
		if len(ca) == 0 {
			return nil
		}
		if err := a.trust(ca); err != nil {
			return fmt.Errorf("certificate-authority of cluster %q: %w", name, err)
		}
		return nil
	}
	return fmt.Errorf("there is no cluster %q", name)
}

// user takes the named user in.
func (k *kubeconfig) user(a *access, name, dir string) error {
	if name == "" {
		return nil
	}
	for _, u := range k.Users {
		if u.Name != name {
			continue
		}
		user := u.User
		if user.Exec != nil || user.AuthProvider != nil || user.Username != "" {
			return fmt.Errorf("user %q: only tokens and client certificates are supported, not exec, auth-provider or a password", name)
		}
		if a.token = user.Token; user.TokenFile != "" {
			a.tokenFile = beside(dir, user.TokenFile)
		}
		if user.Cert == "" && len(user.CertData) == 0 {
			return nil
		}
		pair := func() (*tls.Certificate, error) { return user.certificate(dir) }
		if _, err := pair(); err != nil {
			return fmt.Errorf("client-certificate of user %q: %w", name, err)
		}
		// Certificates in files are renewed.
		a.tls.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair() }
		return nil
	}
	return fmt.Errorf("there is no user %q", name)
}

func (u *kubeconfigUser) certificate(dir string) (*tls.Certificate, error) {
	cert, key := u.CertData, u.KeyData
	var err error
	if len(cert) == 0 {
		if cert, err = os.ReadFile(beside(dir, u.Cert)); err != nil {
			return nil, err
		}
	}
	if len(key) == 0 {
		if key, err = os.ReadFile(beside(dir, u.Key)); err != nil {
			return nil, err
		}
	}
	pair, err := tls.X509KeyPair(cert, key)
	return &pair, err
}

func beside(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}
