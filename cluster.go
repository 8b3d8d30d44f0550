package skerry

import (
	"context"
	"time"
)

// Member is a process of the cluster.
type Member struct {
	Self
	Address string // host:port for other servers
	Alive   bool
	Voter   bool // it holds a member of the quorum store
	// Heard is the time since this process heard it last; 0 for itself.
	Heard time.Duration
	// Since is since when it is alive, as this process knows; zero if it is not, or not known.
	Since time.Time
	// Term and Index are how far its member of the quorum store had come when it told last; 0
	// if it told nothing.
	Term, Index uint64
}

// Members knows the processes of this datacenter.
type Members interface {
	// Members returns the members ordered by name, this process among them. The slice must
	// not be written to.
	Members() []Member
}

// Leader knows the server that leads the quorum store.
type Leader interface {
	// Leader returns the leader; ok is false while none is known.
	Leader() (m Member, ok bool)
}

// Contact knows how old the answers of this process may be.
type Contact interface {
	// LastContact returns the time since this process last heard the leader of the quorum
	// store, at most. known is false while no leader is known.
	LastContact() (ago time.Duration, known bool)
	// CatalogAge returns for how long this process may have missed changes of the catalog:
	// 0 while it hears a majority of the servers.
	CatalogAge() time.Duration
}

// CatchUp brings the catalog up to date.
type CatchUp interface {
	// CatchUp waits until the catalog has every change that was acknowledged before the
	// call. It is an error of kind [Unavailable] without a majority.
	CatchUp(ctx context.Context) error
}

// Cluster is the processes of this datacenter as one of them sees them. Its methods may be
// called from many goroutines; none but CatchUp blocks.
type Cluster interface {
	Members
	Leader
	Contact
	CatchUp
}

// Servers changes the servers of this datacenter.
type Servers interface {
	// RemoveServer removes the member of a server from the quorum store, by the server's
	// name. If the server is down, its services leave the catalog too. It is an error of
	// kind [NotFound] if there is no such server, and [Unavailable] without a majority.
	RemoveServer(ctx context.Context, name string) error
	// TransferLeader makes another server lead the quorum store: that of a name, or any
	// that can if it is empty. It returns when this server knows the new leader.
	TransferLeader(ctx context.Context, name string) error
}

// Autopilot is how the servers of a datacenter look after each other.
type Autopilot struct {
	// CleanupDeadServers lets a new server take the vote of one that is gone for long, if
	// at least MinQuorum servers are left then.
	CleanupDeadServers bool `json:"cleanup_dead_servers"`
	MinQuorum          uint `json:"min_quorum"`
	// ServerStabilizationTime is how long a new server must be there before it has a vote.
	ServerStabilizationTime time.Duration `json:"server_stabilization_time"`

	// These are kept and have no effect.
	LastContactThreshold    time.Duration `json:"last_contact_threshold"`
	MaxTrailingLogs         uint64        `json:"max_trailing_logs"`
	RedundancyZoneTag       string        `json:"redundancy_zone_tag,omitempty"`
	DisableUpgradeMigration bool          `json:"disable_upgrade_migration,omitempty"`
	UpgradeVersionTag       string        `json:"upgrade_version_tag,omitempty"`

	// Created and Modified are indexes of the store; 0 while the values are those of the
	// configuration.
	Created  uint64 `json:"-"`
	Modified uint64 `json:"-"`
}

// DefaultAutopilot returns the values of fields that are not given.
func DefaultAutopilot() Autopilot {
	return Autopilot{
		CleanupDeadServers: true, ServerStabilizationTime: 10 * time.Second,
		LastContactThreshold: 200 * time.Millisecond, MaxTrailingLogs: 250,
	}
}

// Settings are decided once for all servers of this datacenter.
type Settings interface {
	// Autopilot returns the present values.
	Autopilot() (Autopilot, error)
	// SetAutopilot replaces them. If after is not nil it does so only if it is the
	// Modified of the present values; set reports whether it did.
	SetAutopilot(ctx context.Context, a Autopilot, after *uint64) (set bool, err error)
}

// Attachment is how an agent is attached to its servers.
type Attachment struct {
	Server  string    // the node name of the one that answers for it; empty: it is alone
	Since   time.Time // since when
	Settled bool      // the server has the present registrations
	// Barred is why the last server that was asked takes no registrations of this agent; empty: it may take them.
	Barred string
}

// Alone returns a cluster of one process: it leads, and is always current.
func Alone(m Member) Cluster {
	m.Alive, m.Voter = true, m.Server
	return alone{[]Member{m}}
}

type alone struct{ members []Member }

func (a alone) Members() []Member                  { return a.members }
func (a alone) Leader() (Member, bool)             { return a.members[0], true }
func (a alone) LastContact() (time.Duration, bool) { return 0, true }
func (a alone) CatalogAge() time.Duration          { return 0 }
func (a alone) CatchUp(context.Context) error      { return nil }
