package door

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerryhq/skerry/files"
)

// TLS configures the certificates of the HTTPS listeners and their clients.
type TLS struct {
	CertFile, KeyFile string
	CAFile            string // PEM file of the authorities of client certificates
	CAPath            string // folder of such files, in addition to CAFile
	VerifyIncoming    bool   // a client needs a certificate
	MinVersion        string // TLSv1_0, TLSv1_1, TLSv1_2 or TLSv1_3; default TLSv1_2
	// CipherSuites are Go's names of those allowed, separated by commas; default
	// Go's choice. TLS 1.3 has its own, which cannot be chosen.
	CipherSuites string
}

func (t TLS) config() (*tls.Config, error) {
	if t.CertFile == "" || t.KeyFile == "" {
		return nil, fmt.Errorf("tls.https: the HTTPS port needs cert_file and key_file")
	}
	c := &certificate{certFile: t.CertFile, keyFile: t.KeyFile}
	if _, err := c.get(nil); err != nil {
		return nil, fmt.Errorf("tls.https: %w", err)
	}
	conf := &tls.Config{GetCertificate: c.get, NextProtos: []string{"h2", "http/1.1"}}
	var err error
	if conf.MinVersion, err = minVersion(t.MinVersion); err != nil {
		return nil, err
	}
	if conf.CipherSuites, err = cipherSuites(t.CipherSuites); err != nil {
		return nil, err
	}
	if conf.ClientCAs, err = t.authorities(); err != nil {
		return nil, err
	}
	if conf.ClientCAs != nil {
		conf.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if t.VerifyIncoming {
		if conf.ClientCAs == nil { // else Go accepts certificates of the system's authorities
			return nil, fmt.Errorf("tls.https.verify_incoming: needs ca_file or ca_path, to know whose certificates to take")
		}
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return conf, nil
}

// listen returns the configuration of a listener, and a function that reads the authorities of client certificates again. Clients
// whose authority went have to show another certificate with their next connection.
func (t TLS) listen() (conf *tls.Config, reread func() error, err error) {
	first, err := t.config()
	if err != nil {
		return nil, nil, err
	}
	var present atomic.Pointer[tls.Config]
	present.Store(first)
	conf = first.Clone()
	conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return present.Load(), nil }
	return conf, func() error {
		pool, err := t.authorities()
		if err != nil {
			return err
		}
		next := first.Clone()
		next.ClientCAs = pool
		present.Store(next)
		return nil
	}, nil
}

// certificateNames returns a function that returns the host names in the present
// certificate.
func certificateNames(conf *tls.Config) func() []string {
	return func() []string {
		c, err := conf.GetCertificate(nil)
		if err != nil || c.Leaf == nil {
			return nil
		}
		return c.Leaf.DNSNames
	}
}

func minVersion(name string) (uint16, error) {
	switch name {
	case "TLSv1_0":
		return tls.VersionTLS10, nil
	case "TLSv1_1":
		return tls.VersionTLS11, nil
	case "", "TLSv1_2":
		return tls.VersionTLS12, nil
	case "TLSv1_3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("tls.https.tls_min_version: %q: want TLSv1_0, TLSv1_1, TLSv1_2 or TLSv1_3", name)
}

func cipherSuites(names string) (ids []uint16, err error) {
	known := map[string]uint16{}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		known[s.Name] = s.ID
	}
	for name := range strings.FieldsFuncSeq(names, func(r rune) bool { return r == ',' || r == ' ' }) {
		id, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("tls.https.tls_cipher_suites: there is no cipher suite %q", name)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// authorities returns the trusted authorities of client certificates; nil without any.
func (t TLS) authorities() (*x509.CertPool, error) {
	var paths []string
	if t.CAFile != "" {
		paths = append(paths, t.CAFile)
	}
	if t.CAPath != "" {
		entries, err := os.ReadDir(t.CAPath)
		if err != nil {
			return nil, fmt.Errorf("tls.https.ca_path: %w", err)
		}
		for _, e := range entries {
			path := filepath.Join(t.CAPath, e.Name())
			// A mounted secret has links to files, and hidden folders behind them.
			if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
				paths = append(paths, path)
			}
		}
		if len(paths) == 0 {
			return nil, fmt.Errorf("tls.https.ca_path: no file is in %s", t.CAPath)
		}
	}
	if len(paths) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	for _, path := range paths {
		pem, err := files.Read(path, files.MaxPEM)
		if err != nil {
			return nil, fmt.Errorf("tls.https: authorities of client certificates: %w", err)
		}
		// If it were skipped, its clients would be locked out.
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.https: %s holds no certificate in PEM form; ca_file and ca_path are of authorities", path)
		}
	}
	return pool, nil
}

// certificate is a TLS certificate that is read again when its file changes.
type certificate struct {
	certFile, keyFile string

	mu      sync.Mutex
	loaded  *tls.Certificate
	changed time.Time
	looked  time.Time
}

const certificateEvery = time.Second

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded != nil && time.Since(c.looked) < certificateEvery {
		return c.loaded, nil
	}
	c.looked = time.Now()
	fi, err := os.Stat(c.certFile)
	if err == nil && c.loaded != nil && fi.ModTime().Equal(c.changed) {
		return c.loaded, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = files.ReadKeyPair(c.certFile, c.keyFile)
	}
	if err != nil {
		if c.loaded != nil {
			return c.loaded, nil // half-written: the old one serves until the new one is whole
		}
		return nil, err
	}
	c.loaded, c.changed = &pair, fi.ModTime()
	return c.loaded, nil
}
