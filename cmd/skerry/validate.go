package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/config"
)

func newValidateCommand() *cobra.Command {
	var quiet, dev bool
	cmd := &cobra.Command{
		Use:   "validate FILE|FOLDER...",
		Short: "Check configuration files without starting an agent",
		Long: `Check configuration files without starting an agent. Files and folders are
taken together, as the agent takes them. Every mistake is reported, and every
key that is accepted and has no effect.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return validate(cmd, config.Source{Files: args, Dev: dev}, quiet)
		},
	}
	cmd.Flags().BoolVar(&quiet, "quiet", false, "print nothing when all is well")
	cmd.Flags().BoolVar(&dev, "dev", false, "take the files as dev mode would")
	return cmd
}

func validate(cmd *cobra.Command, src config.Source, quiet bool) error {
	c, warnings, err := config.Load(src)
	if err == nil {
		err = c.Validate()
	}
	if !quiet || err != nil {
		for _, w := range warnings {
			fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
		}
		if err == nil {
			for _, e := range c.Exposures() {
				fmt.Fprintln(cmd.ErrOrStderr(), "exposed:", e.Message)
			}
		}
	}
	if err != nil {
		for _, e := range parts(err) {
			fmt.Fprintln(cmd.ErrOrStderr(), "error:", e)
		}
		return exitCode(1)
	}
	if !quiet {
		fmt.Fprintln(cmd.OutOrStdout(), "Configuration is valid!")
	}
	return nil
}

// parts returns the errors that were joined to err.
func parts(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	return []error{err}
}
