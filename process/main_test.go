package process

import (
	"os"
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

func TestMain(m *testing.M) {
	program.TakeSignals()
	os.Exit(m.Run())
}
