// Package disk keeps the credentials of a process in its data folder: its key and certificate, the authorities that it
// trusts and, on servers, the authority itself. On the machine where the authority was made it also keeps the first join
// tokens, until the quorum store has them.
package disk

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/pki"
)

// Folder is a folder with credentials.
type Folder string

// The files are in PEM, since the quorum store's member reads them too.
const (
	keyFile       = "key.pem"
	chainFile     = "certificate.pem"
	rootsFile     = "authorities.pem"
	authorityFile = "authority.pem"
	nextFile      = "authority-next.pem"
	tokensFile    = "tokens.json"
)

func (f Folder) path(name string) string { return filepath.Join(string(f), name) }

// Files returns the paths of the authorities, the certificate and the key.
func (f Folder) Files() (authorities, certificate, key string) {
	return f.path(rootsFile), f.path(chainFile), f.path(keyFile)
}

func (f Folder) read(name string) ([]byte, error) {
	text, err := files.ReadKept(f.path(name), files.MaxPEM)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: %w", f.path(name), err)
	}
	return text, err
}

// Key returns the private key of the process. It makes one the first time.
func (f Folder) Key() (*ecdsa.PrivateKey, error) {
	text, err := f.read(keyFile)
	if err == nil {
		key, err := pki.DecodeKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path(keyFile), err)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	if text, err = pki.EncodeKey(key); err != nil {
		return nil, err
	}
	return key, f.write(keyFile, text)
}

func (f Folder) write(name string, text []byte) error {
	if err := files.MakeFolder(string(f), 0o700); err != nil {
		return err
	}
	return files.Replace(f.path(name), text)
}

// Load returns the credentials. The error is [fs.ErrNotExist] if the process has not joined yet.
func (f Folder) Load() (h pki.Held, err error) {
	if h.Chain, err = f.certificates(chainFile); err != nil {
		return h, err
	}
	if h.Roots, err = f.certificates(rootsFile); err != nil {
		return h, err
	}
	h.Key, err = f.Key()
	return h, err
}

func (f Folder) certificates(name string) ([]*x509.Certificate, error) {
	text, err := f.read(name)
	if err != nil {
		return nil, err
	}
	out, _, err := pki.DecodeCertificates(text)
	if err == nil && len(out) == 0 {
		err = errors.New("it has no certificate")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path(name), err)
	}
	return out, nil
}

// Save keeps credentials for the key of this folder. The certificate is written last: without it the others say nothing.
func (f Folder) Save(h pki.Held) error {
	if err := f.write(rootsFile, pki.EncodeCertificates(pki.Raw(h.Roots)...)); err != nil {
		return err
	}
	return f.write(chainFile, pki.EncodeCertificates(pki.Raw(h.Chain)...))
}

// Authority returns the authority. The error is [fs.ErrNotExist] if there is none.
func (f Folder) Authority() (*pki.Authority, error) { return f.authority(authorityFile) }

// Next returns the authority that this server made for a rotation. The error is [fs.ErrNotExist] if there is none.
func (f Folder) Next() (*pki.Authority, error) { return f.authority(nextFile) }

func (f Folder) authority(name string) (*pki.Authority, error) {
	text, err := f.read(name)
	if err != nil {
		return nil, err
	}
	a, err := pki.DecodeAuthority(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path(name), err)
	}
	return a, nil
}

// SaveAuthority keeps the authority.
func (f Folder) SaveAuthority(a *pki.Authority) error { return f.saveAuthority(authorityFile, a) }

// SaveNext keeps the authority of a rotation until it is in use.
func (f Folder) SaveNext(a *pki.Authority) error { return f.saveAuthority(nextFile, a) }

// DropNext removes what SaveNext kept, once it is in use.
func (f Folder) DropNext() error {
	return errors.Join(os.Remove(f.path(nextFile)), files.SyncFolder(string(f)))
}

func (f Folder) saveAuthority(name string, a *pki.Authority) error {
	text, err := a.Encode()
	if err != nil {
		return err
	}
	return f.write(name, text)
}
