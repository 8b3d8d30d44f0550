package replication_test

import (
	"fmt"
	"testing"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/access"
	"github.com/skerryhq/skerry/quorum/replica/replicatest"
)

// BenchmarkChange is the work of both sides for one change among 10,000 tokens, and BenchmarkWhole a copy of all.
func BenchmarkChange(b *testing.B) { change(b, false) }
func BenchmarkWhole(b *testing.B)  { change(b, true) }

func change(b *testing.B, whole bool) {
	ctx := b.Context()
	one, err := access.New(access.Options{KV: replicatest.NewMemory(), Datacenter: "dc1"})
	if err != nil {
		b.Fatal(err)
	}
	one.Init(ctx)
	var last *skerry.Token
	for i := range 10_000 {
		if last, err = one.CreateToken(ctx, skerry.Token{Description: fmt.Sprint("token ", i), Grants: skerry.Grants{Services: []skerry.ServiceIdentity{{Service: "web"}}}}, 0); err != nil {
			b.Fatal(err)
		}
	}
	two, err := access.New(access.Options{KV: replicatest.NewMemory(), Datacenter: "dc2", Primary: "dc1", CopyTokens: true})
	if err != nil {
		b.Fatal(err)
	}
	records := one.Records(true)
	part, _, err := records.Part("", 1<<30)
	state := records.State()
	if err != nil || two.Take(ctx, access.CopyState{}, state, true, part) != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		last.Description += "x"
		if len(last.Description) > 100 {
			last.Description = "token"
		}
		if last, err = one.UpdateToken(ctx, *last); err != nil {
			b.Fatal(err)
		}
		records := one.Records(true)
		if whole {
			part, _, err = records.Part("", 1<<30)
		} else {
			part, _, err = records.Later(state.Index)
		}
		records.Digest()
		next := records.State()
		if err != nil || two.Take(ctx, state, next, whole, part) != nil {
			b.Fatal(err)
		}
		state = next
		two.Records(true).Digest()
	}
}
