package door

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerryhq/skerry/test/testcert"
)

func TestTLSMistakes(t *testing.T) {
	dir := t.TempDir()
	testcert.Issue(t, dir, "server")
	good := TLS{CertFile: filepath.Join(dir, "server.pem"), KeyFile: filepath.Join(dir, "server.key")}
	for want, change := range map[string]func(*TLS){
		"cert_file":         func(c *TLS) { c.CertFile = "" },
		"tls_min_version":   func(c *TLS) { c.MinVersion = "TLSv9" },
		"tls_cipher_suites": func(c *TLS) { c.CipherSuites = "TLS_NO_SUCH" },
		"no file":           func(c *TLS) { c.CAPath = t.TempDir() },
		"ca_path":           func(c *TLS) { c.CAPath = filepath.Join(dir, "nowhere") },
		"no certificate":    func(c *TLS) { c.CAFile = filepath.Join(dir, "server.key") },
	} {
		c := good
		change(&c)
		if _, err := c.config(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error that names %s", err, want)
		}
	}
	if _, err := good.config(); err != nil {
		t.Error(err)
	}
}
