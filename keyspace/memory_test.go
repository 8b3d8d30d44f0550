package keyspace_test

import (
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/keyspace"
	"github.com/skerryhq/skerry/quorum/kvtest"
)

func TestMemoryKeepsThePromises(t *testing.T) {
	kvtest.Run(t, func(*testing.T) skerry.KV { return keyspace.NewMemory() },
		func(_ *testing.T, kv skerry.KV, key string) { kv.(*keyspace.Memory).Damage(key) })
}
