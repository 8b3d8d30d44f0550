package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/follow/hub"
	"github.com/skerryhq/skerry/forward"
	"github.com/skerryhq/skerry/link"
	"github.com/skerryhq/skerry/readers"
)

// drains counts the readers of services while instances drain. The process that drains asks all servers again and again;
// each has counted its own readers, and its followers theirs.
type drains struct {
	n       *Node
	readers *readers.Readers
	dialer  *link.Dialer // to the other servers

	mu     sync.Mutex
	counts map[string]*counting // by the id of the drain
}

// counting is one drain at this process.
type counting struct {
	own   *readers.Count
	probe *hub.Probe
	asked time.Time
}

// drainAsk asks a process for its count. Alone: it asks no other one.
type drainAsk struct {
	ID, Service, Node, Instance string
	Except                      string // the node that drains: it counts its readers itself
	Alone                       bool
	Lost                        []string // agents whose streams ended at other servers
}

// drainCount is the answer.
type drainCount struct {
	Acked, Pending, Gone int
	Resolving            time.Duration
	Waiting              []string
	Lost, Has            []string // agents whose streams ended here; those of Lost that follow here
}

const (
	// drainEvery is how often the count of a drain is asked for, and drainAnswer bounds the wait for one server.
	drainEvery  = 100 * time.Millisecond
	drainAnswer = time.Second
	// forgetAfter ends a count that is not asked for any more.
	forgetAfter = 30 * time.Second
	maxDrains   = 1000
	maxDrainAsk = 64 << 10
	// drainPath is where a server answers about a drain.
	drainPath = "/v1/skerry/link/drain"
	// maxWaiting bounds the names of an answer.
	maxWaiting = 20
)

func startDrains(n *Node) (part, error) {
	n.drains = &drains{n: n, readers: readers.New(time.Now), dialer: n.newDialer(), counts: map[string]*counting{}}
	stop := func() error {
		n.drains.dialer.Close()
		return nil
	}
	return part{run: loops(every(forgetAfter, n.drains.sweep)), stop: stop}, nil
}

// sweep forgets old readers, and counts that are not asked for any more.
func (d *drains) sweep() {
	d.readers.Sweep()
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, c := range d.counts {
		if time.Since(c.asked) > forgetAfter {
			d.forget(id, c)
		}
	}
}

// forget must be called with mu held.
func (d *drains) forget(id string, c *counting) {
	c.probe.End()
	delete(d.counts, id)
}

// Await implements [skerry.Drains].
func (d *drains) Await(ctx context.Context, node string, i *skerry.Instance, within time.Duration) skerry.Drained {
	var random [16]byte
	rand.Read(random[:])
	ask := drainAsk{ID: hex.EncodeToString(random[:]), Service: skerry.Fold(i.Service), Node: node, Instance: i.ID, Except: d.n.cfg.Self.Name}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	began := time.Now()
	var last skerry.Drained
	for {
		c := d.everywhere(ctx, ask)
		if ctx.Err() != nil && last.Waiting != nil {
			break // the last count was whole, this one was cut short
		}
		if c.Resolving > 0 {
			c.Waiting = append(c.Waiting, fmt.Sprintf("resolvers, for another %v", c.Resolving.Round(time.Second)))
		}
		c.Waiting = c.Waiting[:min(len(c.Waiting), maxWaiting)]
		last = skerry.Drained{Acked: c.Acked, Pending: c.Pending, Gone: c.Gone, Safe: c.Pending == 0 && c.Resolving == 0, Waiting: c.Waiting}
		if last.Safe {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(drainEvery):
			continue
		}
		break
	}
	d.n.log.Info("an instance drained", "service", i.Service, "id", i.ID, "took", time.Since(began).Round(time.Millisecond),
		"safe", last.Safe, "acked", last.Acked, "pending", last.Pending, "gone", last.Gone, "waiting", last.Waiting)
	return last
}

// everywhere counts at this process and at all servers.
func (d *drains) everywhere(ctx context.Context, ask drainAsk) drainCount {
	sum := d.here(ctx, ask)
	if f := d.n.attached.forwarder; f != nil {
		d.elsewhere(ctx, f, ask, &sum)
		return sum
	}
	if d.n.cfg.Role == PeerRole {
		d.peers(ctx, ask, &sum)
	}
	return sum
}

// elsewhere has a server count at all servers, for an agent.
func (d *drains) elsewhere(ctx context.Context, f *forward.Forwarder, ask drainAsk, sum *drainCount) {
	ctx, cancel := context.WithTimeout(ctx, 2*drainAnswer)
	defer cancel()
	body, _ := json.Marshal(ask) // plain strings
	answer, err := f.Ask(ctx, drainPath, "", body)
	var c drainCount
	if err == nil {
		err = json.Unmarshal(answer, &c)
	}
	if err != nil {
		c = drainCount{Pending: 1, Waiting: []string{"no server answers: " + err.Error()}}
	}
	sum.add(c)
}

// peers counts at the other servers, and resolves which agents follow nowhere any more.
func (d *drains) peers(ctx context.Context, ask drainAsk, sum *drainCount) {
	ask.Alone, ask.Lost = true, sum.Lost
	ctx, cancel := context.WithTimeout(ctx, drainAnswer)
	defer cancel()
	others := d.n.otherServers()
	counts := make([]drainCount, len(others))
	var asked sync.WaitGroup
	for i, m := range others {
		asked.Go(func() {
			var err error
			if counts[i], err = d.ask(ctx, m.Address, ask); err != nil {
				counts[i] = drainCount{Pending: 1, Waiting: []string{"the server " + m.Name + " does not answer"}}
			}
		})
	}
	asked.Wait()
	lost, has := slices.Clone(sum.Lost), d.n.hub.Has(sum.Lost)
	for _, c := range counts {
		lost, has = append(lost, c.Lost...), append(has, c.Has...)
		has = append(has, d.n.hub.Has(c.Lost)...)
		sum.add(c)
	}
	slices.Sort(lost)
	for _, node := range slices.Compact(lost) {
		if !slices.Contains(has, node) && node != ask.Except {
			sum.Pending++
			sum.Waiting = append(sum.Waiting, "the agent of "+node+" follows at no server since less than 30 s")
		}
	}
	sum.Lost = nil
}

func (c *drainCount) add(o drainCount) {
	c.Acked, c.Pending, c.Gone = c.Acked+o.Acked, c.Pending+o.Pending, c.Gone+o.Gone
	c.Resolving, c.Waiting = max(c.Resolving, o.Resolving), append(c.Waiting, o.Waiting...)
}

// ask asks another server for its own count.
func (d *drains) ask(ctx context.Context, address string, ask drainAsk) (c drainCount, err error) {
	body, _ := json.Marshal(ask) // plain strings
	answer, err := forward.Post(ctx, d.dialer.RoundTripper(), d.n.cfg.Self.Name, address, drainPath, body)
	if err == nil {
		err = json.Unmarshal(answer, &c)
	}
	return c, err
}

// here counts at this process and at its followers.
func (d *drains) here(ctx context.Context, ask drainAsk) (sum drainCount) {
	c, waiting := d.counting(ctx, ask)
	if waiting != "" {
		return drainCount{Pending: 1, Waiting: []string{d.n.cfg.Self.Name + waiting}}
	}
	sum.Acked, sum.Pending, sum.Gone, sum.Resolving = c.own.Now()
	if sum.Pending > 0 {
		sum.Waiting = append(sum.Waiting, fmt.Sprintf("%d readers at %s", sum.Pending, d.n.cfg.Self.Name))
	}
	followers, nodes, lost := c.probe.Now()
	if followers.Pending > 0 {
		sum.Waiting = append(sum.Waiting, fmt.Sprintf("%d readers at agents that follow at %s", followers.Pending, d.n.cfg.Self.Name))
	}
	for _, node := range nodes {
		sum.Waiting = append(sum.Waiting, "the agent of "+node)
	}
	sum.Acked, sum.Pending, sum.Gone = sum.Acked+followers.Acked, sum.Pending+followers.Pending+len(nodes), sum.Gone+followers.Gone
	sum.Resolving = max(sum.Resolving, time.Duration(followers.Resolving)*time.Millisecond)
	sum.Lost, sum.Has = lost, d.n.hub.Has(ask.Lost)
	return sum
}

// counting returns the count of a drain, which begins once the change is in the views of this process. waiting is the
// reason why it has not begun.
func (d *drains) counting(ctx context.Context, ask drainAsk) (c *counting, waiting string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c = d.counts[ask.ID]; c != nil {
		c.asked = time.Now()
		return c, ""
	}
	if len(d.counts) >= maxDrains {
		return nil, " counts too many drains"
	}
	v, known := d.view(ask.Service)
	if known && slices.ContainsFunc(v.Entries, func(e *skerry.Entry) bool {
		return e.Instance.ID == ask.Instance && skerry.SameName(e.Node.Name, ask.Node)
	}) {
		return nil, " has not got the change yet"
	}
	c = &counting{asked: time.Now()}
	if known {
		c.own = d.readers.Begin(ask.Service, v.Index)
	} else {
		c.own = &readers.Count{} // no reader was answered here
	}
	c.probe = d.n.hub.Probe(ask.ID, ask.Service, ask.Except)
	d.counts[ask.ID] = c
	return c, ""
}

// view returns the view of a service from which readers here are answered. known is false at an agent that does not
// follow the service.
func (d *drains) view(service string) (v *skerry.View, known bool) {
	if c := d.n.attached.followed; c != nil {
		v = c.Known(service)
		return v, v != nil
	}
	return d.n.table.Service(service), true
}

// serveDrain answers about a drain.
func (n *Node) serveDrain(w http.ResponseWriter, r *http.Request) {
	var ask drainAsk
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDrainAsk))
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(body)).Decode(&ask)
	}
	if err != nil || ask.ID == "" || ask.Service == "" {
		http.Error(w, "a question about a drain names its ID and Service", http.StatusBadRequest)
		return
	}
	count := n.drains.here
	if !ask.Alone {
		count = n.drains.everywhere
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(count(r.Context(), ask))
}
