package operator

import (
	"context"
	"fmt"
	"io"
	"regexp"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
	"github.com/skerryhq/skerry/cmd/skerry/show"
)

// NewEvent returns the command event.
func NewEvent() *cobra.Command {
	var format string
	var e api.UserEvent
	cmd := &cobra.Command{
		Use:   "event -name NAME [flags] [PAYLOAD]",
		Short: "Send an event to its watchers",
		Long: `Send an event to the watchers of its name, on all nodes or on those that the
expressions pick. PAYLOAD is at most 300 bytes; "-" is standard input, "@FILE"
the contents of a file.`,
		Example: `  skerry event -name deploy -service web 1.2.3`,
		Args:    cobra.MaximumNArgs(1),
	}
	show.FormatFlag(cmd, &format)
	f := cmd.Flags()
	f.StringVar(&e.Name, "name", "", "`name` of the event")
	f.StringVar(&e.NodeFilter, "node", "", "only nodes whose name matches the regular `expression`")
	f.StringVar(&e.ServiceFilter, "service", "", "only nodes with a service that matches the regular `expression`")
	f.StringVar(&e.TagFilter, "tag", "", "with -service, and a tag that matches the regular `expression`")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, args []string, out io.Writer) error {
		switch {
		case e.Name == "":
			return connect.Usagef("-name is needed: the name of the event")
		case e.TagFilter != "" && e.ServiceFilter == "":
			return connect.Usagef("-tag needs -service")
		}
		for flag, expression := range map[string]string{"-node": e.NodeFilter, "-service": e.ServiceFilter, "-tag": e.TagFilter} {
			if _, err := regexp.Compile(expression); err != nil {
				return connect.Usagef("%s: %v", flag, err)
			}
		}
		if len(args) > 0 {
			var err error
			if e.Payload, err = connect.Argument(cmd, args[0]); err != nil {
				return err
			}
		}
		id, _, err := c.Event().Fire(&e, c.WriteOptions(ctx))
		if err != nil {
			return err
		}
		if format == "json" {
			return show.JSON(out, map[string]string{"ID": id})
		}
		_, err = fmt.Fprintln(out, "Event ID:", id)
		return err
	})
}
