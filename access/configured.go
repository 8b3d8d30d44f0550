package access

import (
	"bytes"
	"encoding/json"

	"github.com/skerryhq/skerry"
)

// Configured decodes a method's Config into a struct with Consul's names. An
// unknown name is an error.
func Configured[T any](m *skerry.AuthMethod) (T, error) {
	var v T
	b, err := json.Marshal(m.Config)
	if err != nil {
		return v, skerry.Errorf(skerry.Invalid, "Config: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, skerry.Errorf(skerry.Invalid, "Config: %w", err)
	}
	return v, nil
}
