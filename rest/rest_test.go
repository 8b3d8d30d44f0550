package rest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry/rest"
)

func TestServersRestLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s rest.Servers
		failed := errors.New("refused")
		for i, longest := range []time.Duration{150, 300, 600, 1200, 2400, 4800, 7500, 7500, 7500, 7500, 7500, 7500, 7500} {
			if news := s.Failed("s1", failed); news != (i == 0) {
				t.Errorf("failure %d is news: %v", i, news)
			}
			if !s.Rests("s1") || len(s.Resting()) != 1 || s.Rests("s2") {
				t.Errorf("failure %d: %v rest", i, s.Resting())
			}
			longest *= time.Millisecond
			time.Sleep(longest/3 - 1)
			if !s.Rests("s1") {
				t.Errorf("failure %d: the rest is shorter than %v", i, longest/3)
			}
			time.Sleep(longest - longest/3 + 1)
			if s.Rests("s1") || len(s.Resting()) != 0 {
				t.Errorf("failure %d: the rest is longer than %v", i, longest)
			}
		}
		if !s.Failed("s1", errors.New("reset")) {
			t.Error("another error is no news")
		}
		s.Worked("s1")
		if s.Rests("s1") || !s.Failed("s1", failed) {
			t.Error("a server that worked has failures")
		}
		time.Sleep(151 * time.Millisecond)
		if s.Rests("s1") {
			t.Error("the rest after the first failure is that of a later one")
		}
	})
}
