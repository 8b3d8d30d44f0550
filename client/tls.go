package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
)

// TLS returns the TLS configuration that the parameters of a source's URL ask for; nil
// for plain text. They are, for all sources that have them: tls=true; ca, cert and key,
// PEM files of which the last two are read anew at each connection; skip-verify=true.
// Where named is not nil, tls is the name that it goes by.
func TLS(q url.Values, named *tls.Config) (*tls.Config, error) {
	cfg, asked := named, named != nil
	if !asked {
		cfg = &tls.Config{}
		var err error
		if asked, err = isTrue(q, "tls"); err != nil {
			return nil, err
		}
	}
	skip, err := isTrue(q, "skip-verify")
	if err != nil {
		return nil, err
	}
	cfg.InsecureSkipVerify = cfg.InsecureSkipVerify || skip
	asked = asked || skip
	if file := q.Get("ca"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		if cfg.RootCAs = x509.NewCertPool(); !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s holds no certificate in PEM", file)
		}
		asked = true
	}
	certificate, key := q.Get("cert"), q.Get("key")
	if (certificate == "") != (key == "") {
		return nil, errors.New("cert and key belong together: one is missing")
	}
	if certificate != "" {
		if _, err := tls.LoadX509KeyPair(certificate, key); err != nil {
			return nil, fmt.Errorf("cert: %w", err)
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(certificate, key)
			return &pair, err
		}
		asked = true
	}
	if !asked {
		return nil, nil
	}
	return cfg, nil
}

// isTrue reads a parameter that is true or false; false if it is not given.
func isTrue(q url.Values, name string) (bool, error) {
	if !q.Has(name) {
		return false, nil
	}
	yes, err := strconv.ParseBool(q.Get(name))
	if err != nil {
		return false, fmt.Errorf("%s=%q: want true or false", name, q.Get(name))
	}
	return yes, nil
}
