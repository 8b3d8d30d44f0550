package consul

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/tongue/consul/wire"
)

// txnOp is one operation in a transaction's body. Only one of its fields counts, the first
// in this order that is set.
type txnOp struct {
	KV      *txnKV
	Node    *txnNode
	Service *txnService
	Check   *txnCheck
}

type txnKV struct {
	Verb    string
	Key     string
	Value   []byte
	Flags   uint64
	Index   uint64
	Session string

	Namespace, Partition wire.Ignored
}

type txnNode struct {
	Verb string
	Node struct {
		ID              string
		Node            string
		Address         string
		Datacenter      string
		TaggedAddresses map[string]string
		Meta            map[string]string
		Locality        *wire.Locality
		ModifyIndex     uint64

		CreateIndex, Partition, PeerName wire.Ignored
	}
}

type txnService struct {
	Verb    string
	Node    string
	Service struct {
		registerService
		ModifyIndex uint64

		ContentHash, Datacenter, Namespace, Partition wire.Ignored
	}
}

type txnCheck struct {
	Verb  string
	Check struct {
		checkRecord

		Namespace, Partition wire.Ignored
	}
}

func (q *request) txn() error {
	if err := q.p.query(); err != nil {
		return err
	}
	body, err := q.txnBody()
	if err != nil {
		return err
	}
	if len(body) > skerry.MaxTxnOps {
		return status(http.StatusRequestEntityTooLarge, fmt.Sprintf("Transaction contains too many operations (%d > %d)", len(body), skerry.MaxTxnOps))
	}
	ops, err := q.txnOps(body)
	if err != nil {
		return err
	}
	if skerry.ReadOnly(ops) || unknownVerb(ops) != nil {
		return q.txnRead(ops)
	}
	if refused := q.refused(ops); len(refused) > 0 {
		return q.txnSend(txnAnswer{Errors: jsonErrors(refused)}, refused)
	}
	results, refused, err := q.f.b.Keys.Txn(q.r.Context(), ops, q.txnSees())
	if err != nil {
		return err
	}
	results = q.readable(results)
	answer := txnAnswer{Results: jsonResults(results, refused), Errors: jsonErrors(refused)}
	return q.txnSend(answer, refused)
}

func (q *request) txnBody() ([]txnOp, error) {
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, q.f.cfg.MaxTxn)
	var body []txnOp
	err := q.readJSON(&body)
	var (
		tooBig *http.MaxBytesError
		told   *wire.Error
	)
	switch {
	case errors.As(err, &told):
		return nil, err
	case errors.As(err, &tooBig):
		return nil, status(http.StatusRequestEntityTooLarge,
			fmt.Sprintf("Request body(%d bytes) too large, max size: %d bytes. See limits.txn_max_req_len.", q.r.ContentLength, tooBig.Limit))
	case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, badRequest("Failed to parse body: EOF")
	case err != nil:
		var typed *json.UnmarshalTypeError
		if errors.As(err, &typed) && typed.Field == "" {
			// Clients see these words; the types' names are the API module's.
			of := "api.TxnOps"
			if typed.Offset > 1 && typed.Value != "object" {
				of = "api.TxnOp"
			}
			return nil, badRequest("Failed to parse body: json: cannot unmarshal " + typed.Value + " into Go value of type " + of)
		}
		return nil, badRequest("Failed to parse body: " + err.Error())
	}
	return body, nil
}

func (q *request) txnOps(body []txnOp) ([]skerry.TxnOp, error) {
	var ops []skerry.TxnOp
	for _, b := range body {
		switch {
		case b.KV != nil:
			if int64(len(b.KV.Value)) > q.f.cfg.MaxValue {
				return nil, status(http.StatusRequestEntityTooLarge, fmt.Sprintf("Value for key %q is too large (%d > %d bytes)", b.KV.Key, len(b.KV.Value), q.f.cfg.MaxValue))
			}
			ops = append(ops, skerry.TxnOp{Key: &skerry.KeyOp{Action: skerry.KeyAction(b.KV.Verb), KeyValue: skerry.KeyValue{
				Key: b.KV.Key, Value: b.KV.Value, Flags: b.KV.Flags, Session: b.KV.Session, Modified: b.KV.Index,
			}}})
		case b.Node != nil:
			n := b.Node.Node
			node := &skerry.Node{Name: n.Node, ID: n.ID, Datacenter: q.f.b.Self.Datacenter, Address: n.Address, TaggedAddresses: n.TaggedAddresses, Meta: n.Meta}
			if n.Locality != nil {
				node.Locality = &skerry.Locality{Region: n.Locality.Region, Zone: n.Locality.Zone}
			}
			node.Modified = n.ModifyIndex
			ops = append(ops, skerry.TxnOp{Node: &skerry.NodeOp{Action: skerry.CatalogAction(b.Node.Verb), Node: node}})
		case b.Service != nil:
			i := b.Service.Service.instance()
			i.Modified = b.Service.Service.ModifyIndex
			ops = append(ops, skerry.TxnOp{Service: &skerry.ServiceOp{Action: skerry.CatalogAction(b.Service.Verb), Node: b.Service.Node, Instance: i}})
		case b.Check != nil:
			c := b.Check.Check.record()
			c.Modified = b.Check.Check.ModifyIndex
			ops = append(ops, skerry.TxnOp{Check: &skerry.CheckOp{Action: skerry.CatalogAction(b.Check.Verb), Node: b.Check.Check.Node, Check: c}})
		}
	}
	return ops, nil
}

type txnAnswer struct {
	Results []txnResult
	Errors  []txnError
}

// txnReadAnswer is the answer to a transaction that only reads.
type txnReadAnswer struct {
	txnAnswer
	readShape
}

type txnResult struct {
	KV      json.RawMessage `json:",omitempty"`
	Node    *wire.Node      `json:",omitempty"`
	Service *wire.Service   `json:",omitempty"`
	Check   *wire.Check     `json:",omitempty"`
}

type txnError struct {
	OpIndex int
	What    string
}

func (q *request) txnRead(ops []skerry.TxnOp) error {
	answer := txnReadAnswer{readShape: wire.ReadMeta{KnownLeader: q.knowsLeader()}}
	refused := unknownVerb(ops)
	if refused == nil {
		refused = q.refused(ops)
	}
	if refused != nil {
		answer.KnownLeader = false
	} else {
		if err := q.synced(); err != nil {
			return err
		}
		var results []skerry.TxnResult
		var err error
		if results, refused, answer.Index, err = q.f.b.Keys.Read(ops, q.txnSees()); err != nil {
			return q.unnamed(err)
		}
		if q.hides() {
			answer.Index = newestOf(results) // the table's own index reveals hidden changes
		}
		all := len(results)
		results = q.readable(results)
		answer.ResultsFilteredByACLs = len(results) < all
		answer.Results = jsonResults(results, refused)
	}
	answer.Errors = jsonErrors(refused)
	h := q.w.Header()
	q.contact(h)
	if !answer.KnownLeader {
		h["X-Consul-Knownleader"] = isFalse // as in Consul's answer to a refusal
	}
	return q.txnSend(answer, refused)
}

// txnSees returns a function that reports whether the caller may see a result; nil: all.
func (q *request) txnSees() func(*skerry.TxnResult) bool {
	if !q.hides() {
		return nil
	}
	return q.reads
}

// newestOf returns the index of the last change to any of the results.
func newestOf(results []skerry.TxnResult) uint64 {
	index := uint64(blank)
	for _, r := range results {
		switch {
		case r.Key != nil:
			index = max(index, r.Key.Modified)
		case r.Node != nil:
			index = max(index, r.Node.Modified)
		case r.Service != nil:
			index = max(index, r.Service.Modified)
		case r.Check != nil:
			index = max(index, r.Check.Modified)
		}
	}
	return index
}

// txnSend answers 409 to a transaction that was not made.
func (q *request) txnSend(answer any, refused []skerry.TxnError) error {
	if len(refused) == 0 {
		return q.json(answer)
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	q.sendAs(typeJSONUTF8, http.StatusConflict, body, nil)
	return nil
}

// unknownVerb returns the operations on keys with an unknown verb. Consul checks them
// before anything else.
func unknownVerb(ops []skerry.TxnOp) (refused []skerry.TxnError) {
	for i, op := range ops {
		if op.Key == nil || op.Key.Action.Reads() || op.Key.Action.Writes() {
			continue
		}
		refused = append(refused, skerry.TxnError{Op: i, What: "unknown KV operation: " + string(op.Key.Action)})
	}
	return refused
}

func jsonErrors(refused []skerry.TxnError) []txnError {
	var out []txnError
	for _, r := range refused {
		out = append(out, txnError{r.Op, r.What})
	}
	return out
}

func jsonResults(results []skerry.TxnResult, refused []skerry.TxnError) []txnResult {
	if len(refused) > 0 {
		return nil
	}
	out := []txnResult{}
	for _, r := range results {
		switch {
		case r.Key != nil:
			out = append(out, txnResult{KV: appendEntry(nil, r.Key)})
		case r.Node != nil:
			n := wire.NodeOf(r.Node)
			out = append(out, txnResult{Node: &n})
		case r.Service != nil:
			s := wire.ServiceOf(r.Service)
			s.Tags = r.Service.Tags
			out = append(out, txnResult{Service: &s})
		case r.Check != nil:
			c := wire.CheckOf(r.NodeName, r.Check)
			c.ServiceTags = r.Check.ServiceTags
			out = append(out, txnResult{Check: &c})
		}
	}
	return out
}
