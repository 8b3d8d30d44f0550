package door

import (
	"net/http"
	"sync"

	"github.com/skerryhq/skerry/door/recorder"
	"github.com/skerryhq/skerry/rescue"
)

// Rescue returns a handler that answers with 500 if next panics. If a part of the answer was
// sent already, it closes the connection, so that the client does not take it for the whole.
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
				panic(why) // the handler aborts on purpose
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
