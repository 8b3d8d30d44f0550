package check

import "github.com/skerryhq/skerry"

// threshold turns results in a row into a status. A result that agrees with the
// present status, or that its threshold holds back, leaves the status as it is.
type threshold struct {
	passing, warning, critical uint16 // results in a row that it takes; 0 counts as 1
	passed                     uint16 // passing results in a row
	failed                     uint16 // warning and critical results in a row
	broken                     uint16 // critical results in a row
}

func newThreshold(def *skerry.CheckDefinition) threshold {
	t := threshold{
		passing:  count(def.SuccessBeforePassing),
		warning:  count(def.FailuresBeforeWarning),
		critical: count(def.FailuresBeforeCritical),
	}
	if def.FailuresBeforeWarning <= 0 {
		t.warning = t.critical
	}
	return t
}

func count(n int) uint16 { return uint16(min(max(n, 1), 1<<15)) }

// next takes in the result of a run and returns the status after it. held is true
// when a threshold keeps the result from being shown: its output must not be
// shown either, since it would contradict the status.
func (t *threshold) next(now, result skerry.Health) (status skerry.Health, held bool) {
	if result == skerry.Passing {
		t.passed, t.failed, t.broken = bump(t.passed), 0, 0
		if now == skerry.Passing || t.passed >= t.passing {
			return skerry.Passing, false
		}
		return now, true
	}
	t.passed, t.failed = 0, bump(t.failed)
	if result == skerry.Critical {
		t.broken = bump(t.broken)
		if now == skerry.Critical || t.broken >= t.critical {
			return skerry.Critical, false
		}
	} else {
		t.broken = 0
	}
	if now == skerry.Warning || t.failed >= t.warning {
		return skerry.Warning, false
	}
	return now, true
}

func bump(n uint16) uint16 { return min(n+1, 1<<15) }
