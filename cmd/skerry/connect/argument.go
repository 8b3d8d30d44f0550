package connect

import (
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Argument returns the value of an argument, as Consul does: "-" is standard input,
// "@FILE" the contents of a file, anything else itself.
func Argument(cmd *cobra.Command, argument string) ([]byte, error) {
	if argument == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	if name, ok := strings.CutPrefix(argument, "@"); ok {
		return os.ReadFile(name)
	}
	return []byte(argument), nil
}
