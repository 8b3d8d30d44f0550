package client

import "context"

type hashKey struct{}

// WithHashKey says what decides which instance a call goes to, where the balancer's
// policy is hash: calls with the same key, such as a customer's number, go to the
// same instance as long as they can.
func WithHashKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, hashKey{}, key)
}

// HashKey returns what [WithHashKey] said; "" if nothing.
func HashKey(ctx context.Context) string {
	key, _ := ctx.Value(hashKey{}).(string)
	return key
}
