package client

import (
	"context"

	"github.com/skerryhq/skerry/client/lb"
)

type hashKey struct{}

// WithHashKey sets the key of a call for a balancer with the policy hash: calls with the
// same key, such as a customer's number, go to the same instance as long as they can.
func WithHashKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, hashKey{}, key)
}

// HashOf returns what [WithHashKey] said, as [lb.Request] has it; 0 if nothing.
func HashOf(ctx context.Context) uint64 {
	if key, _ := ctx.Value(hashKey{}).(string); key != "" {
		return lb.HashOf(key)
	}
	return 0
}
