// Package frame is the form of messages between the processes of a cluster: the kind of the message, a
// space, and the message in JSON. Unknown kinds and fields are skipped: during an upgrade processes of
// two releases are there.
package frame

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/skerryhq/skerry/cluster"
)

// Kind returns the kind of a message; empty if it does not travel.
func Kind(m cluster.Message) string {
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
	case cluster.QuietAsk:
		return "quiet-ask"
	case cluster.Quiet:
		return "quiet"
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
	case cluster.Attach:
		return "attach"
	case cluster.Attached:
		return "attached"
	case cluster.Announce:
		return "announce"
	case cluster.Told:
		return "told"
	case cluster.Beat:
		return "beat"
	case cluster.Beaten:
		return "beaten"
	case cluster.Access:
		return "access"
	case cluster.Authorities:
		return "authorities"
	case cluster.Trace:
		return "trace"
	case cluster.Traced:
		return "traced"
	case cluster.TracedAgents:
		return "traced-agents"
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
	"fetched": decoderOf[cluster.Fetched], "head-ask": decoderOf[cluster.HeadAsk], "head": decoderOf[cluster.Head],
	"quiet-ask": decoderOf[cluster.QuietAsk], "quiet": decoderOf[cluster.Quiet], "hello": decoderOf[cluster.Hello], "propose": decoderOf[cluster.Propose],
	"accept": decoderOf[cluster.Accept], "start": decoderOf[cluster.Start], "counts": decoderOf[cluster.Counts],
	"void": decoderOf[cluster.Void], "join": decoderOf[cluster.Join], "joined": decoderOf[cluster.Joined],
	"release": decoderOf[cluster.Release], "hand-over": decoderOf[cluster.HandOver], "handed-over": decoderOf[cluster.HandedOver],
	"attach": decoderOf[cluster.Attach], "attached": decoderOf[cluster.Attached], "announce": decoderOf[cluster.Announce],
	"told": decoderOf[cluster.Told], "beat": decoderOf[cluster.Beat], "beaten": decoderOf[cluster.Beaten],
	"access": decoderOf[cluster.Access], "authorities": decoderOf[cluster.Authorities],

	"trace": decoderOf[cluster.Trace], "traced": decoderOf[cluster.Traced], "traced-agents": decoderOf[cluster.TracedAgents],
}

// Encode returns the frame of a message.
func Encode(m cluster.Message) ([]byte, error) {
	kind := Kind(m)
	if kind == "" {
		return nil, fmt.Errorf("a %T is no message between processes", m)
	}
	var b bytes.Buffer
	b.WriteString(kind)
	b.WriteByte(' ')
	if err := json.NewEncoder(&b).Encode(m); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Decode returns the message of a frame; nil if its kind is not known here.
func Decode(frame []byte) (cluster.Message, error) {
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
	return m, nil
}
