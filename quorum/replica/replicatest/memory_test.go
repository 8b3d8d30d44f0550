package replicatest_test

import (
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/quorum/kvtest"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

func TestMemoryKeepsThePromises(t *testing.T) {
	kvtest.Run(t, func(*testing.T) skerry.KV { return replicatest.NewMemory() },
		func(_ *testing.T, kv skerry.KV, key string) { kv.(*replicatest.Memory).Damage(key) })
}
