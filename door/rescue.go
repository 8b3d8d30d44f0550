package door

import (
	"net/http"
	"sync"

	"github.com/skerryhq/skerry/door/recorder"
	"github.com/skerryhq/skerry/rescue"
)

// Rescue answers a request whose handler panics with 500. Where a part of an answer was
// sent already, the connection ends: what came is not whole.
func Rescue(next http.Handler, net *rescue.Net) http.Handler {
	writers := sync.Pool{New: func() any { return new(recorder.Recorder) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := writers.Get().(*recorder.Recorder)
		*out = recorder.Recorder{ResponseWriter: w}
		defer func() {
			why := recover()
			status, taken := out.Status, out.Taken
			out.ResponseWriter = nil
			writers.Put(out)
			switch {
			case why == nil:
			case why == http.ErrAbortHandler:
				panic(why) // it is asked for
			default:
				net.Note(rescue.HTTP, why)
				if status != 0 || taken {
					panic(http.ErrAbortHandler)
				}
				http.Error(w, "Internal Server Error", http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(out, r)
	})
}
