package registry

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/catalog"
	"github.com/skerryhq/skerry/cluster"
)

// A frame is the kind of its message, a space, and the message in JSON. Unknown kinds and
// fields are skipped: during an upgrade servers of two releases are there.

func kindOf(m cluster.Message) string {
	switch m.(type) {
	case cluster.Log:
		return "log"
	case cluster.Tick:
		return "tick"
	case cluster.Heard:
		return "heard"
	case cluster.HeardOK:
		return "heard-ok"
	case cluster.Release:
		return "release"
	case cluster.Ask:
		return "ask"
	case cluster.Sums:
		return "sums"
	case cluster.Want:
		return "want"
	case cluster.Owned:
		return "owned"
	case cluster.Fetch:
		return "fetch"
	case cluster.Fetched:
		return "fetched"
	case cluster.HeadAsk:
		return "head-ask"
	case cluster.Head:
		return "head"
	case cluster.Hello:
		return "hello"
	case cluster.Propose:
		return "propose"
	case cluster.Accept:
		return "accept"
	case cluster.Start:
		return "start"
	case cluster.Counts:
		return "counts"
	case cluster.Void:
		return "void"
	case cluster.Join:
		return "join"
	case cluster.Joined:
		return "joined"
	case cluster.HandOver:
		return "hand-over"
	case cluster.HandedOver:
		return "handed-over"
	default:
		return ""
	}
}

func decoderOf[M cluster.Message](data []byte) (cluster.Message, error) {
	var m M
	err := json.Unmarshal(data, &m)
	return m, err
}

var decoders = map[string]func([]byte) (cluster.Message, error){
	"log": decoderOf[cluster.Log], "tick": decoderOf[cluster.Tick], "heard": decoderOf[cluster.Heard],
	"heard-ok": decoderOf[cluster.HeardOK], "ask": decoderOf[cluster.Ask], "sums": decoderOf[cluster.Sums],
	"want": decoderOf[cluster.Want], "owned": decoderOf[cluster.Owned], "fetch": decoderOf[cluster.Fetch],
	"fetched": decoderOf[cluster.Fetched], "head-ask": decoderOf[cluster.HeadAsk], "head": decoderOf[cluster.Head], "hello": decoderOf[cluster.Hello], "propose": decoderOf[cluster.Propose],
	"accept": decoderOf[cluster.Accept], "start": decoderOf[cluster.Start], "counts": decoderOf[cluster.Counts],
	"void": decoderOf[cluster.Void], "join": decoderOf[cluster.Join], "joined": decoderOf[cluster.Joined],
	"release": decoderOf[cluster.Release], "hand-over": decoderOf[cluster.HandOver], "handed-over": decoderOf[cluster.HandedOver],
}

// encode returns the frame of a message.
func encode(m cluster.Message) ([]byte, error) {
	kind := kindOf(m)
	if kind == "" {
		return nil, fmt.Errorf("a %T is no message between servers", m)
	}
	var b bytes.Buffer
	b.WriteString(kind)
	b.WriteByte(' ')
	if err := json.NewEncoder(&b).Encode(m); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// decode returns the message of a frame; nil if its kind is not known here.
func decode(frame []byte) (cluster.Message, error) {
	kind, data, ok := bytes.Cut(frame, []byte(" "))
	if !ok {
		return nil, fmt.Errorf("a frame of %d bytes has no kind", len(frame))
	}
	decoder := decoders[string(kind)]
	if decoder == nil {
		return nil, nil
	}
	m, err := decoder(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	switch m := m.(type) {
	case cluster.Log:
		err = valid(m.Records)
	case cluster.Fetched:
		err = valid(m.Records)
	case cluster.Owned:
		err = valid(m.Records)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return m, nil
}

// valid returns an error if the catalog would refuse one of the records: the core must not
// take what the catalog cannot show.
func valid(records []cluster.Record) error {
	for i := range records {
		r := &records[i]
		r.Attach = false
		switch {
		case r.Owner == "":
			return skerry.Errorf(skerry.Invalid, "a record has no owner")
		case r.TTL < 0:
			return skerry.Errorf(skerry.Invalid, "%s: the TTL is %v", r.Owner, r.TTL)
		case r.Set == nil && r.Delta == nil:
			continue
		}
		a := announcement(r)
		a.TTL = max(a.TTL, 1)
		if err := catalog.Validate(&a); err != nil {
			return fmt.Errorf("%s: %w", r.Owner, err)
		}
	}
	return nil
}
