package recorder

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestRecorder(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter)
		status int
		reason string
	}{
		"nothing":          {func(http.ResponseWriter) {}, 0, ""},
		"a body":           {func(w http.ResponseWriter) { w.Write([]byte("x")) }, 200, ""},
		"a refusal":        {func(w http.ResponseWriter) { http.Error(w, "no", http.StatusForbidden) }, 403, "no\n"},
		"another error":    {func(w http.ResponseWriter) { http.Error(w, "no", http.StatusNotFound) }, 404, ""},
		"two statuses":     {func(w http.ResponseWriter) { w.WriteHeader(204); w.WriteHeader(500) }, 204, ""},
		"a refusal, later": {func(w http.ResponseWriter) { w.WriteHeader(403); w.Write([]byte("a")); w.Write([]byte("b")) }, 403, "a"},
	} {
		r := &Recorder{ResponseWriter: httptest.NewRecorder(), Explains: func(status int) bool { return status == 403 }}
		tt.answer(r)
		if r.Status != tt.status || r.Reason != tt.reason || r.Taken {
			t.Errorf("%s: %d %q %v", name, r.Status, r.Reason, r.Taken)
		}
	}
}

// What stands behind a recorder can set deadlines, flush and take the connection over,
// as before it.
func TestRecorderHidesNothing(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		r := &Recorder{ResponseWriter: &Recorder{ResponseWriter: w, Explains: func(int) bool { return false }}, Explains: func(int) bool { return false }}
		c := http.NewResponseController(r)
		if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Errorf("a deadline: %v", err)
		}
		if err := c.Flush(); err != nil {
			t.Errorf("a flush: %v", err)
		}
		conn, _, err := r.Hijack()
		if err != nil || !r.Taken {
			t.Fatalf("taking over: %v %v", r.Taken, err)
		}
		conn.Close()
	}))
	defer s.Close()
	if resp, err := http.Get(s.URL); err == nil {
		resp.Body.Close()
	}
}
