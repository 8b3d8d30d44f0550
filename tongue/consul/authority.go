package consul

import (
	"context"
	"time"

	"github.com/skerryhq/skerry"
)

// authorityBody is the authority of the cluster, on the wire.
type authorityBody struct {
	Pin     string
	Expires time.Time
	Before  string     `json:",omitempty"`
	Began   *time.Time `json:",omitempty"`
	Waiting []string   `json:",omitempty"`
	Restart []string   `json:",omitempty"`
}

// authority calls do, and answers with the state of the authority after it.
func (q *request) authority(do func(skerry.Admission, context.Context) (skerry.Authority, error)) error {
	a, err := q.admission()
	if err != nil {
		return err
	}
	now, err := do(a, q.r.Context())
	if err != nil {
		return err
	}
	out := authorityBody{Pin: now.Pin, Expires: now.Expires, Before: now.Before, Waiting: now.Waiting, Restart: now.Restart}
	if now.Before != "" {
		out.Began = &now.Began
	}
	return q.json(out)
}

// skerryAuthority answers with the authority of the cluster.
func (q *request) skerryAuthority() error { return q.authority(skerry.Admission.Authority) }

// skerryRotate begins to change the authority.
func (q *request) skerryRotate() error { return q.authority(skerry.Admission.RotateAuthority) }

// skerryRotateFinish takes the trust from the authority before.
func (q *request) skerryRotateFinish() error {
	return q.authority(func(a skerry.Admission, ctx context.Context) (skerry.Authority, error) {
		return a.FinishRotation(ctx, q.p.has("force"))
	})
}
