package quorum

import (
	"context"
	"log/slog"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
)

const (
	keepEvery = 30 * time.Second
	// wasteful is how much of the data file must be free room before it is
	// written anew: writing it stops the member for a moment.
	wastefulBytes = 256 << 20
)

// keep gives room back: it defragments a data file that is mostly empty, and
// lifts the alarm of a full one once there is room again. A leader without room hands
// over.
func (m *member) keep(ctx context.Context, log *slog.Logger) {
	t := time.NewTicker(keepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.dead.happened:
			log.Error("the quorum store has stopped; registration and discovery go on", "error", m.dead.reason())
			return
		case <-t.C:
			m.tidy(ctx, log)
		}
	}
}

func (m *member) tidy(ctx context.Context, log *slog.Logger) {
	if m.usable() != nil {
		m.handOver() // a leader whose disk fills up stops all
	}
	full := m.full()
	if full {
		// Deleted records still take room until its history is dropped.
		if _, err := m.client.Compact(ctx, m.etcd.Server.KV().Rev(), clientv3.WithCompactPhysical()); err != nil {
			log.Debug("compact the full store", "error", err)
		}
	}
	size, used := m.sizes()
	if waste := size - used; waste > wastefulBytes && waste > size/2 || full && waste > size/10 {
		log.Info("the store's data file is written anew to give back room", "size", size, "used", used)
		if err := m.etcd.Server.Defragment(); err != nil {
			log.Error("write the store's data file anew", "error", err)
			return
		}
		size, _ = m.sizes()
	}
	if full && size < m.quota()/10*9 {
		m.disarm(ctx, log)
	}
}

// disarm lifts this member's alarm, and those of members that were removed since.
func (m *member) disarm(ctx context.Context, log *slog.Logger) {
	server := m.etcd.Server
	for _, a := range server.Alarms() {
		others := slices.ContainsFunc(server.Cluster().Members(), func(o *membership.Member) bool {
			return o.ID != server.MemberID() && uint64(o.ID) == a.MemberID
		})
		if a.Alarm != pb.AlarmType_NOSPACE || others {
			continue
		}
		if _, err := m.client.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: a.MemberID, Alarm: a.Alarm}); err != nil {
			log.Error("lift the store's alarm", "error", err)
			return
		}
		log.Info("the store has room again and takes writes")
	}
}

// id is the id of the member in etcd, in hexadecimal.
func (m *member) id() string { return m.etcd.Server.MemberID().String() }

func (m *member) quota() int64 { return m.etcd.Server.Cfg.QuotaBackendBytes }

func (m *member) sizes() (size, used int64) {
	b := m.etcd.Server.Backend()
	return b.Size(), b.SizeInUse()
}

// growsBy bounds how much etcd's file grows at once, in bytes: the room for a batch, and 16 MiB.
const growsBy = 64 << 20

// nearlyFull reports whether the next proposal may pass the quota.
func (s *Store) nearlyFull() bool {
	if s.member == nil {
		return false // the size of another's etcd is not known
	}
	size, _ := s.member.sizes()
	return size+growsBy > s.member.quota()
}

// full reports whether the quota was reached.
func (m *member) full() bool {
	for _, a := range m.etcd.Server.Alarms() {
		if a.Alarm == pb.AlarmType_NOSPACE {
			return true
		}
	}
	return false
}
