package forward

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// requestHeader has the id of a written request: its epoch ("-" while none is known), 128 random
	// bits in hexadecimal digits, and "again" if another attempt may have been made.
	requestHeader = "X-Skerry-Request"
	// epochHeader is a server's word on the present epoch, in the answers to such requests.
	epochHeader = "X-Skerry-Epoch"
	// MaxKept is the largest body that is kept to send a request again, in bytes.
	MaxKept = 1 << 20
	idBytes = 16
	// epochKnown is how long an epoch counts after a server named it. It lasts a minute, and requests
	// of the one before are taken too: within this time a request can be repeated.
	epochKnown = 45 * time.Second
)

// ID names a written request for all servers that it comes to.
type ID struct {
	Epoch  uint64 // in which it was first sent
	Dated  bool   // whether its sender knew the epoch; if not, it is not to be made
	Secret string // 128 random bits in hexadecimal digits
	Again  bool   // another attempt may have been made
}

// String returns the id as it is in the header.
func (id ID) String() string {
	epoch, again := "-", ""
	if id.Dated {
		epoch = strconv.FormatUint(id.Epoch, 10)
	}
	if id.Again {
		again = " again"
	}
	return epoch + " " + id.Secret + again
}

// IDOf returns the id of a request that was passed on. is is false if it has none: then it comes once.
func IDOf(r *http.Request) (id ID, is bool, err error) {
	header := r.Header.Get(requestHeader)
	if header == "" {
		return id, false, nil
	}
	parts := strings.Split(header, " ")
	if id.Again = len(parts) == 3 && parts[2] == "again"; id.Again {
		parts = parts[:2]
	}
	if len(parts) != 2 {
		return id, true, fmt.Errorf("%s: want an epoch and an id", requestHeader)
	}
	id.Secret = parts[1]
	if b, err := hex.DecodeString(id.Secret); err != nil || len(b) != idBytes {
		return id, true, fmt.Errorf("%s: the id must be %d hexadecimal digits", requestHeader, 2*idBytes)
	}
	if id.Dated = parts[0] != "-"; id.Dated {
		if id.Epoch, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
			return id, true, fmt.Errorf("%s: the epoch must be a number, or -", requestHeader)
		}
	}
	return id, true, nil
}

// SetEpoch names the present epoch in an answer.
func SetEpoch(h http.Header, epoch uint64) { h.Set(epochHeader, strconv.FormatUint(epoch, 10)) }

// RefuseEpoch answers a request whose epoch is not current: it was not made, and can be sent in the
// present one.
func RefuseEpoch(w http.ResponseWriter) {
	http.Error(w, requestHeader+": the epoch is not current: see "+epochHeader, http.StatusPreconditionFailed)
}

// epoch is the last word of a server on the present epoch.
type epoch struct {
	mu   sync.Mutex
	at   uint64
	told time.Time
}

// learn takes a server's word out of an answer, and reports whether the answer refuses the epoch of
// its request.
func (e *epoch) learn(resp *http.Response) (refused bool) {
	at, err := strconv.ParseUint(resp.Header.Get(epochHeader), 10, 64)
	resp.Header.Del(epochHeader) // it is not the client's
	if err != nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at, e.told = at, time.Now()
	return resp.StatusCode == http.StatusPreconditionFailed
}

// date gives an id the present epoch, if it is known.
func (e *epoch) date(id *ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id.Epoch, id.Dated = e.at, !e.told.IsZero() && time.Since(e.told) < epochKnown
}

type carryKey struct{}

// Carry returns a request that keeps its id when it is passed on again: it is made once wherever it ends.
func Carry(r *http.Request, id ID) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), carryKey{}, id))
}

// kept is a written request that can be sent again.
type kept struct {
	id   ID
	body []byte
}

// keep keeps a request's body and gives it an id. It returns nil for one that is too large.
func keep(r *http.Request) (*kept, error) {
	k := &kept{}
	if r.Body != nil && r.Body != http.NoBody {
		var err error
		if k.body, err = io.ReadAll(io.LimitReader(r.Body, MaxKept+1)); err != nil {
			return nil, err
		}
		if len(k.body) > MaxKept {
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(bytes.NewReader(k.body), r.Body), r.Body}
			return nil, nil
		}
	}
	var secret [idBytes]byte
	rand.Read(secret[:]) // it never fails
	k.id.Secret = hex.EncodeToString(secret[:])
	if id, is := r.Context().Value(carryKey{}).(ID); is {
		k.id.Secret, k.id.Again = id.Secret, id.Again
	}
	return k, nil
}
