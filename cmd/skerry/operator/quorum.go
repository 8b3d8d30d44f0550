package operator

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
	"github.com/skerryhq/skerry/node"
)

func newRecover() *cobra.Command {
	var dataDir string
	var yes bool
	cmd := &cobra.Command{
		Use:   "recover -data-dir FOLDER",
		Short: "Go on with one server when most are lost for good",
		Long: `Make a server the only one that decides, when most of the servers are lost for good
and the others cannot go on without them. Run it on the machine of one that is
left, while its agent is stopped: the one that was last in touch with the lost
ones, if there are several. Changes that it never received are lost. It asks for
the name of the node.`,
		Example: `  skerry operator quorum recover -data-dir /var/lib/skerry`,
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "`folder` of the agent's data")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if dataDir == "" {
			return connect.Usagef("-data-dir is needed: the agent's data_dir")
		}
		log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelError}))
		s, err := node.OpenSurvivor(dataDir, log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		name, out := show.Line(s.Name), cmd.OutOrStdout()
		if !yes {
			if err := confirm(cmd.InOrStdin(), out, name); err != nil {
				return err
			}
		}
		if err := s.Recover(cmd.Context()); err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, `%[1]s is the only server that decides now.

1. Move the data folders of the other servers away. None may start with its old data.
2. Start the agent of %[1]s again, with the same configuration.
3. Start other servers with empty data folders and the address of %[1]s in -retry-join. They join
   by themselves, and have votes when two of them are ready.
`, name)
		return err
	}
	return cmd
}

// confirm asks for the name of the node.
func confirm(in io.Reader, out io.Writer, name string) error {
	fmt.Fprintf(out, `This makes %[1]s the only server that decides. Changes that it never received are lost, and
no other server of this cluster may start again with its data.
Type the name of the node, %[1]s, to go on: `, name)
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(line) != name {
		fmt.Fprintln(out)
		return errors.New("this is not the name of the node: nothing is changed")
	}
	return nil
}
