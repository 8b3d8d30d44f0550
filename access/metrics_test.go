package access

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerryhq/skerry"
)

func TestMetricsMoveWithWhatHappens(t *testing.T) {
	s := open(t, nil)
	g := NewGate(s, nil)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s)
	shows := func(when string, tokens, denials, unknown float64) {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue() // one of them is nil
		}
		for name, want := range map[string]float64{"skerry_acl_tokens": tokens, "skerry_acl_denials_total": denials, "skerry_acl_unknown_tokens_total": unknown} {
			if v, ok := got[name]; !ok || v != want {
				t.Errorf("%s: %s is %v, not %v", when, name, v, want)
			}
		}
	}
	shows("at first", 2, 0, 0)
	allows(t, g, rootSecret, "service", "web", skerry.AccessWrite)
	shows("after what is allowed", 2, 0, 0)
	allows(t, g, "", "service", "web", skerry.AccessWrite)
	who, err := g.Identify("")
	if err != nil || who.AllowsBelow("key", "a/", skerry.AccessRead) {
		t.Errorf("the anonymous token may read keys: %v", err)
	}
	if _, err := g.Identify("nobody's"); skerry.KindOf(err) != skerry.Denied {
		t.Errorf("an unknown token: %v", err)
	}
	if _, err := s.CreateToken(t.Context(), skerry.Token{}, 0); err != nil {
		t.Fatal(err)
	}
	shows("after denials", 3, 2, 1)
}
