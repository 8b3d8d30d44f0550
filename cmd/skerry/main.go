// Command skerry is the server, the node agent and the command line of Skerry.
// Called as "consul", it answers to that name.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerryhq/skerry/cmd/skerry/accepted"
	"github.com/skerryhq/skerry/cmd/skerry/acl"
	"github.com/skerryhq/skerry/cmd/skerry/debug"
	"github.com/skerryhq/skerry/cmd/skerry/exec"
	"github.com/skerryhq/skerry/cmd/skerry/kv"
	"github.com/skerryhq/skerry/cmd/skerry/lock"
	"github.com/skerryhq/skerry/cmd/skerry/operator"
	"github.com/skerryhq/skerry/cmd/skerry/query"
	"github.com/skerryhq/skerry/cmd/skerry/singledash"
	"github.com/skerryhq/skerry/cmd/skerry/template"
	"github.com/skerryhq/skerry/cmd/skerry/tls"
	"github.com/skerryhq/skerry/cmd/skerry/token"
)

// commands is the table of subcommands. A new one is a file and a line here.
var commands = []func() *cobra.Command{
	newAgentCommand,
	newBenchCommand,
	newCatalogCommand,
	debug.New,
	newDrillCommand,
	newChecksCommand,
	newExplainCommand,
	newGuardCommand,
	newHealthCommand,
	newInfoCommand,
	newKeygenCommand,
	newLeaveCommand, newForceLeaveCommand,
	newMaintCommand,
	newMembersCommand,
	newMonitorCommand,
	newReloadCommand,
	newRTTCommand,
	newRunCommand,
	newServicesCommand,
	acl.New,
	acl.NewLogin,
	acl.NewLogout,
	tls.New,
	token.New,
	token.NewCA,
	token.NewNode,
	kv.New,
	kv.NewTxn,
	operator.NewEvent,
	operator.NewOperator,
	operator.NewSnapshot,
	query.New,
	exec.New,
	template.New,
	lock.NewLock,
	lock.NewSession,
	newValidateCommand,
	newVersionCommand,
	newWatchCommand,
}

func main() {
	os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line, whose first argument is the program's name, and
// returns the exit code: 0, 1 after a failure, 2 for a command line that cannot
// be understood, or what a command chose with [exitCode].
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(filepath.Base(args[0]))
	understood := false
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		understood = true
		accepted.Warn(cmd, stderr)
	}
	root.SetArgs(singledash.Rewrite(root, args[1:]))
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := unknownCommand(root, args[1:])
	if err == nil {
		cmd, err = root.ExecuteContextC(ctx)
	}
	var code exitCode
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case !understood || errors.As(err, &usage):
		fmt.Fprintf(stderr, "%s: %v\nSee %q.\n", root.Name(), err, cmd.CommandPath()+" -help")
		return 2
	}
	fmt.Fprintf(stderr, "%s: %v\n", root.Name(), err)
	return 1
}

func newRoot(program string) *cobra.Command {
	name, short := "skerry", "Skerry: a service registry that stays above the waves"
	if strings.TrimSuffix(program, ".exe") == "consul" {
		name, short = "consul", "Consul's command line, answered by Skerry"
	}
	root := &cobra.Command{
		Use:           name,
		Short:         short,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       versionString(),
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetVersionTemplate(versionText(name))
	root.SetHelpFunc(help)
	for _, command := range commands {
		root.AddCommand(command())
	}
	askForSubcommands(root)
	accepted.Add(root)
	return root
}

// askForSubcommands makes every command that only holds others say so when it is
// called without one of them.
func askForSubcommands(cmd *cobra.Command) {
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args, cmd.RunE = cobra.ArbitraryArgs, subcommandNeeded
		if cmd.Annotations == nil {
			cmd.Annotations = map[string]string{}
		}
		cmd.Annotations[holdsOthers] = "yes"
	}
	for _, c := range cmd.Commands() {
		askForSubcommands(c)
	}
}

// holdsOthers is the annotation of commands that only hold others.
const holdsOthers = "holds_others"

// unknownCommand reports a command that does not exist, and the one that should hold it: cobra
// does so too, but not when help or the version is asked for beside.
func unknownCommand(root *cobra.Command, args []string) (*cobra.Command, error) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	cmd := root
	for _, arg := range args {
		switch {
		case cmd.Annotations[holdsOthers] == "":
			return nil, nil
		case slices.Contains([]string{"help", "h", "version", "v"}, strings.TrimLeft(arg, "-")) && strings.HasPrefix(arg, "-"):
			continue
		case strings.HasPrefix(arg, "-"), cmd == root && strings.HasPrefix(arg, "__"): // flags, and what shells ask for completion
			return nil, nil
		case cmd == root && arg == "help":
			continue
		}
		next, _, err := cmd.Find([]string{arg})
		if err != nil || next == cmd {
			return cmd, subcommandNeeded(cmd, []string{arg})
		}
		cmd = next
	}
	return nil, nil
}

// group returns a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	cmd.AddCommand(commands...)
	return cmd
}

func subcommandNeeded(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		cmd.SetOut(cmd.ErrOrStderr())
		help(cmd, nil)
		return exitCode(2)
	}
	message := fmt.Sprintf("unknown command %q", args[0])
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		message += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError(message)
}
