package node

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/pki"
)

// OwnCertificate names the PEM files of a certificate that an authority of the operator's has signed: of the authorities, of
// the certificate and of its private key.
type OwnCertificate struct{ CAFile, CertFile, KeyFile string }

// ownEvery is how often the files are read again.
const ownEvery = time.Minute

// startOwn takes the certificate of this process from files.
func (c *credentials) startOwn(own OwnCertificate) (part, error) {
	text, err := c.takeOwn(own, nil)
	if err != nil {
		return part{}, fmt.Errorf("tls.internal: %w", err)
	}
	return part{run: loops(func(ctx context.Context) { c.keepOwn(ctx, own, text) })}, nil
}

// keepOwn reads the files again and again until ctx ends. Connections stay; new ones use the new certificate.
func (c *credentials) keepOwn(ctx context.Context, own OwnCertificate, text []byte) {
	t := time.NewTicker(ownEvery)
	defer t.Stop()
	for told := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-c.outdated:
		}
		next, err := c.takeOwn(own, text)
		switch {
		case err == nil:
			text, told = next, ""
		case told != err.Error():
			told = err.Error()
			c.n.log.Warn("the certificate in tls.internal is not taken; the one before stays in use", "until", c.held.Held().Leaf().NotAfter, "error", err)
		}
	}
}

// reread has the files read at once, if the certificate is from files.
func (c *credentials) reread() {
	if c != nil && c.n.cfg.Cluster.Own != (OwnCertificate{}) {
		c.look()
	}
}

// takeOwn takes the certificate in the files, if their text is another than before, and returns the text.
func (c *credentials) takeOwn(own OwnCertificate, before []byte) (text []byte, err error) {
	var parts [3][]byte
	for i, f := range []struct{ key, file string }{{"ca_file", own.CAFile}, {"cert_file", own.CertFile}, {"key_file", own.KeyFile}} {
		if parts[i], err = files.Read(f.file, files.MaxPEM); err != nil {
			return before, fmt.Errorf("%s: %w", f.key, err)
		}
	}
	if text = bytes.Join(parts[:], nil); bytes.Equal(text, before) {
		return before, nil
	}
	var h pki.Held
	if h.Roots, _, err = pki.DecodeCertificates(parts[0]); err != nil {
		return before, fmt.Errorf("ca_file: %w", err)
	}
	if h.Chain, _, err = pki.DecodeCertificates(parts[1]); err != nil {
		return before, fmt.Errorf("cert_file: %w", err)
	}
	if h.Key, err = pki.DecodeSigner(parts[2]); err != nil {
		return before, fmt.Errorf("key_file: %w", err)
	}
	if len(h.Chain) > 0 {
		if name, err := pki.Of(h.Leaf()); err != nil || name != c.name {
			return before, fmt.Errorf("cert_file: want a certificate with the URI %v and no other, found %v", c.name, h.Leaf().URIs)
		}
		if server := pki.ServerName(c.name.Datacenter); c.name.Kind == pki.Server && h.Leaf().VerifyHostname(server) != nil {
			return before, fmt.Errorf("cert_file: want a certificate with the DNS name %s, found %v", server, h.Leaf().DNSNames)
		}
	}
	if err := c.held.Replace(h); err != nil {
		return before, err
	}
	c.n.log.Info("this process has a certificate", "name", c.name.String(), "from", own.CertFile, "until", h.Leaf().NotAfter)
	return text, nil
}
