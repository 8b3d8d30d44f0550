package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/connect"
)

func newSetConfig() *cobra.Command {
	var to api.AutopilotConfiguration
	var trailing, quorum uint
	var contact, stable time.Duration
	cmd := &cobra.Command{
		Use: "set-config", Short: "Change how the servers look after each other", Args: cobra.NoArgs,
		Long: `Change how the servers look after each other. Other settings stay. The change holds
on all servers and survives restarts: autopilot in their configuration has the
first values only.`,
	}
	f := cmd.Flags()
	f.BoolVar(&to.CleanupDeadServers, "cleanup-dead-servers", true, "remove servers that are gone when new ones come")
	f.UintVar(&trailing, "max-trailing-logs", 250, "`number` of entries that a healthy server may be behind")
	f.DurationVar(&contact, "last-contact-threshold", 200*time.Millisecond, "the longest `time` of silence of a healthy server")
	f.UintVar(&quorum, "min-quorum", 0, "`number` of servers that are left when dead ones are removed")
	f.DurationVar(&stable, "server-stabilization-time", 10*time.Second, "`time` that a new server must be healthy to be counted")
	f.StringVar(&to.RedundancyZoneTag, "redundancy-zone-tag", "", "`tag` of Consul Enterprise")
	f.BoolVar(&to.DisableUpgradeMigration, "disable-upgrade-migration", false, "of Consul Enterprise")
	f.StringVar(&to.UpgradeVersionTag, "upgrade-version-tag", "", "`tag` of Consul Enterprise")
	return connect.Command(cmd, func(ctx context.Context, c *connect.Connection, _ []string, out io.Writer) error {
		change := func(conf *api.AutopilotConfiguration) {
			for flag, set := range map[string]func(){
				"cleanup-dead-servers":      func() { conf.CleanupDeadServers = to.CleanupDeadServers },
				"max-trailing-logs":         func() { conf.MaxTrailingLogs = uint64(trailing) },
				"last-contact-threshold":    func() { conf.LastContactThreshold = api.NewReadableDuration(contact) },
				"min-quorum":                func() { conf.MinQuorum = quorum },
				"server-stabilization-time": func() { conf.ServerStabilizationTime = api.NewReadableDuration(stable) },
				"redundancy-zone-tag":       func() { conf.RedundancyZoneTag = to.RedundancyZoneTag },
				"disable-upgrade-migration": func() { conf.DisableUpgradeMigration = to.DisableUpgradeMigration },
				"upgrade-version-tag":       func() { conf.UpgradeVersionTag = to.UpgradeVersionTag },
			} {
				if cmd.Flags().Changed(flag) {
					set()
				}
			}
		}
		if err := changeConfig(ctx, c, change); err != nil {
			return err
		}
		_, err := fmt.Fprintln(out, "Configuration updated!")
		return err
	})
}

// changeTries is how often a change is tried that meets others.
const changeTries = 5

// changeConfig changes autopilot's configuration. Another change may come at the same time: a
// new cluster stores that of its files.
func changeConfig(ctx context.Context, c *connect.Connection, change func(*api.AutopilotConfiguration)) error {
	for range changeTries {
		conf, err := c.Operator().AutopilotGetConfiguration(c.Options(ctx))
		if err != nil {
			return err
		}
		change(conf)
		if set, err := c.Operator().AutopilotCASConfiguration(conf, c.WriteOptions(ctx)); set || err != nil {
			return err
		}
	}
	return errors.New("other changes came at the same time, and nothing is changed: try again")
}
