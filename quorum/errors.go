package quorum

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skerryhq/skerry"
)

// kinds maps etcd's errors to error kinds. Everything else means that it does not answer
// now.
var kinds = []struct {
	err  error
	kind skerry.Kind
	text string
}{
	{rpctypes.ErrNoSpace, skerry.Exhausted, "the quorum store is full (quorum.quota): delete keys or raise the quota; reads go on meanwhile"},
	{rpctypes.ErrRequestTooLarge, skerry.Invalid, "the change is too large for one transaction"},
	{rpctypes.ErrTooManyOps, skerry.Invalid, "the change touches too many keys for one transaction (an external etcd's limit is --max-txn-ops)"},
	{rpctypes.ErrLeaseNotFound, skerry.NotFound, "the lease has ended"},
	{rpctypes.ErrPermissionDenied, skerry.Unavailable, "the etcd cluster does not let us read or write below our prefix (quorum.user, quorum.password)"},
}

// wrap gives an error of etcd its kind.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	var own *skerry.Error
	if errors.As(err, &own) {
		return err
	}
	for _, k := range kinds {
		if isOf(err, k.err) {
			return &skerry.Error{Kind: k.kind, Subject: "store", Message: k.text, Err: err}
		}
	}
	var low *lowDisk
	if errors.As(err, &low) {
		return &skerry.Error{Kind: skerry.Exhausted, Subject: "store", Message: low.Error(), Err: err}
	}
	text := err.Error()
	if errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded {
		text = "no majority of the servers answered in time"
	}
	return &skerry.Error{Kind: skerry.Unavailable, Subject: "store", Message: "No cluster leader: " + text, Err: err}
}

// isOf reports whether an error is one of etcd's, also where it came over gRPC.
func isOf(err, etcds error) bool {
	return errors.Is(err, etcds) || sameStatus(err, etcds)
}

func sameStatus(a, b error) bool {
	return rpctypes.ErrorDesc(a) == rpctypes.ErrorDesc(b)
}
