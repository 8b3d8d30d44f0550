package script

import (
	"testing"

	"github.com/skerryhq/skerry/test/program"
)

func TestMain(m *testing.M) { program.MainTaking(m) }
