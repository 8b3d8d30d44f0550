package rescue

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func divide(n *Net, by int) (caught bool) {
	defer n.Catch(Check, func() { caught = true })
	_ = 1 / by
	return false
}

func TestCatch(t *testing.T) {
	var log bytes.Buffer
	n := New(slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	if divide(n, 1) {
		t.Error("nothing panicked")
	}
	for range 3 {
		if !divide(n, 0) {
			t.Error("a panic was not caught")
		}
	}
	func() {
		defer n.Catch(DNS, nil)
		panic("of another place")
	}()
	if got := strings.Count(log.String(), "level=ERROR"); got != 2 {
		t.Errorf("two places are told of %d times:\n%s", got, log.String())
	}
	if !strings.Contains(log.String(), "rescue.divide") || !strings.Contains(log.String(), "of another place") {
		t.Errorf("the log lacks the stack or the panic:\n%s", log.String())
	}
	if got := testutil.ToFloat64(n.panics.WithLabelValues("check")); got != 3 {
		t.Errorf("%v are counted, want 3", got)
	}
}

func TestNoNet(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no net caught something")
		}
	}()
	divide(nil, 0)
}
