package work

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// Record is the outcome of a call, as callers write it to their standard output: 16 bytes
// each.
type Record struct {
	At     int64  // when it was meant to be sent, in µs since 1970
	Took   uint32 // from then to its end, in µs
	Code   uint8  // gRPC's
	Server uint8  // the server of the last attempt, in the order of the list; NoServer
	Caller uint16
}

// NoServer is a call that came to none, or to one that is not in the list.
const NoServer = 255

// Ready is the Code of a record that is no call: the caller has its first list, Took
// after its start.
const Ready = 255

// Sent is when the call was meant to be sent.
func (r *Record) Sent() time.Time { return time.UnixMicro(r.At) }

// Latency counts from the moment the call was meant to be sent.
func (r *Record) Latency() time.Duration { return time.Duration(r.Took) * time.Microsecond }

const recordSize = 16

// Append appends the record's bytes.
func (r *Record) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(r.At))
	b = binary.LittleEndian.AppendUint32(b, r.Took)
	b = append(b, r.Code, r.Server)
	return binary.LittleEndian.AppendUint16(b, r.Caller)
}

// Read passes on each record until the stream ends.
func Read(from io.Reader, tell func(Record)) error {
	in := bufio.NewReaderSize(from, 1<<16)
	var b [recordSize]byte
	for {
		if _, err := io.ReadFull(in, b[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil // a caller that was killed ends in the middle
		} else if err != nil {
			return err
		}
		tell(Record{
			At: int64(binary.LittleEndian.Uint64(b[:])), Took: binary.LittleEndian.Uint32(b[8:]),
			Code: b[12], Server: b[13], Caller: binary.LittleEndian.Uint16(b[14:]),
		})
	}
}
