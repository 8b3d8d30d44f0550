//go:build !gozero18

package gozero

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/zeromicro/go-zero/zrpc"
)

// consistent_hash is go-zero's own balancer; a key stays with its server.
func TestConsistentHash(t *testing.T) {
	_, addresses := servers(t, "", 3)
	conn := dial(t, `{Endpoints: [`+strings.Join(addresses, ",")+`], BalancerName: consistent_hash}`)
	answered := map[string]bool{}
	eventually(t, "keys are spread", func() bool {
		for n := range 20 {
			to, err := do(zrpc.SetHashKey(t.Context(), fmt.Sprint("key-", n)), conn)
			if err != nil {
				t.Fatal(err)
			}
			answered[to] = true
		}
		return len(answered) == 3
	})
	first, err := do(zrpc.SetHashKey(t.Context(), "one"), conn)
	for range 20 {
		if to, err2 := do(zrpc.SetHashKey(t.Context(), "one"), conn); to != first || errors.Join(err, err2) != nil {
			t.Fatalf("a key goes to %s and to %s: %v, %v", first, to, err, err2)
		}
	}
}
