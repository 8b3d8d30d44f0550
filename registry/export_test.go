package registry

import "github.com/skerryhq/skerry/cluster/frame"

// Flush sends the messages that wait.
func (r *Registry) Flush() {
	r.post.flush()
	for more := true; more; {
		_, more = r.post.sendPart()
	}
}

// Encode and Decode are the two sides of a frame.
var (
	Encode = frame.Encode
	Decode = decode

	DecodeFrame = frame.Decode
)

// JudgeBy has what a speaker announces judged.
func (s *Speaker) JudgeBy(by Judge) { s.judged = newJudged(by, s.node) }
