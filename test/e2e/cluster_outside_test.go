package e2e

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/hashicorp/consul/api"
)

// Three servers keep their keys in an etcd cluster of others. One of them decides, and counts as the
// leader, also after the one that did is killed; without etcd there is none.
func TestServersOnAnOutsideEtcdHaveALeader(t *testing.T) {
	t.Parallel()
	outside, stop := etcdUntil(t)
	all, at := serversWith(t, 3, map[string]any{"quorum": map[string]any{"endpoints": []string{"http://" + outside}}})
	agreed := func(among []*agent) (leader string) {
		t.Helper()
		await(t, "one leader", func() error {
			for i, a := range among {
				now, err := a.asker().Status().Leader()
				if err != nil || !slices.Contains(at, now) || i > 0 && now != leader {
					return fmt.Errorf("%q, and %q of another; %v", now, leader, err)
				}
				leader = now
				if _, meta, err := a.asker().Catalog().Services(&api.QueryOptions{AllowStale: true}); err != nil || !meta.KnownLeader {
					return fmt.Errorf("%+v, %v", meta, err)
				}
			}
			return nil
		})
		return leader
	}
	was := agreed(all)
	for i, a := range all {
		if at[i] == was {
			a.kill()
			all = slices.Delete(all, i, i+1)
			break
		}
	}
	await(t, "another leader", func() error {
		if now, err := all[0].asker().Status().Leader(); err != nil || now == was || now == "" {
			return fmt.Errorf("%q, %v", now, err)
		}
		return nil
	})
	agreed(all)
	stop()
	await(t, "no leader", func() error {
		for _, a := range all {
			now, err := a.asker().Status().Leader()
			if err != nil || now != "" {
				return fmt.Errorf("%q, %v", now, err)
			}
			if _, meta, err := a.asker().Catalog().Services(&api.QueryOptions{AllowStale: true}); err != nil || meta.KnownLeader {
				return errors.New("services say that a leader is known")
			}
		}
		return nil
	})
}
