package rates_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerryhq/skerry/rates"
)

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rates.New(10)
		allowed := func(address string, times int) (n int) {
			for range times {
				if r.Allow(address) {
					n++
				}
			}
			return n
		}
		if n := allowed("10.0.0.1:1", 100); n != 21 {
			t.Errorf("%d of 100 at once", n)
		}
		if n := allowed("[::ffff:10.0.0.1]:2", 10); n != 0 {
			t.Errorf("%d from the same address in another form", n)
		}
		if n := allowed("10.0.0.2:1", 10); n != 10 {
			t.Errorf("%d of 10 from another address", n)
		}
		time.Sleep(time.Second)
		if n := allowed("10.0.0.1:1", 100); n != 10 {
			t.Errorf("%d a second later", n)
		}
		if n := allowed("a name", 100); n != 100 {
			t.Errorf("%d of 100 without an address", n)
		}
		r = rates.New(0)
		if n := allowed("10.0.0.1:1", 1000); n != 1000 {
			t.Errorf("%d of 1000 without a limit", n)
		}
	})
}
