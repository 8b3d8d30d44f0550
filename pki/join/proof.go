package join

import (
	"crypto/ed25519"
	"crypto/tls"
	"encoding/binary"
)

// exporter names the value of a TLS connection that a proof is bound to, as RFC 5705 has it.
const exporter = "EXPORTER-skerry-join"

// binding returns a value that both ends of a TLS connection have, and no other connection. A proof that is bound to
// it cannot be sent again, or passed on by a process between the two.
func binding(c *tls.ConnectionState) ([]byte, error) {
	return c.ExportKeyingMaterial(exporter, nil, 32)
}

// statement is what a proof signs.
func statement(binding, request []byte, node string) []byte {
	out := []byte(exporter)
	for _, part := range [][]byte{binding, request, []byte(node)} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
		out = append(out, part...)
	}
	return out
}

// prove shows that the sender of a request has the token.
func (t *Token) prove(binding, request []byte, node string) []byte {
	return ed25519.Sign(t.key, statement(binding, request, node))
}

// proves checks a proof.
func proves(public ed25519.PublicKey, proof, binding, request []byte, node string) bool {
	return len(public) == ed25519.PublicKeySize && ed25519.Verify(public, statement(binding, request, node), proof)
}
