package check

import (
	"crypto/tls"

	"github.com/skerryhq/skerry"
)

// TLSConfig returns how a probe of def speaks TLS: with the system's roots, to
// the server name of the definition. Where that is empty, ServerName is too, and
// the name is that of the address.
func TLSConfig(def *skerry.CheckDefinition) *tls.Config {
	return &tls.Config{
		ServerName:         def.TLSServerName,
		InsecureSkipVerify: def.TLSSkipVerify, // requested by the check's definition
		MinVersion:         tls.VersionTLS12,
	}
}
