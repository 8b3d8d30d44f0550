// Command dist builds the files of a release, from a clean work tree:
//
//	skerry_VERSION_OS_ARCH.tar.gz   the binary, LICENSE and README.md (.zip for Windows)
//	skerry_VERSION_OS_ARCH.cdx.json the modules in the binary, as CycloneDX
//	SHA256SUMS                      for sha256sum -c
//
// The same commit and the same Go give the same bytes: the binaries have no paths of
// this machine, and all times are the commit's. The version is that of the commit's tag,
// or Go's pseudo-version.
//
//	dist               builds all targets into the folder dist
//	dist -verify       compares dist with its SHA256SUMS, and runs the binary for this system
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
)

// target is a system that releases are for.
type target struct{ os, arch, arm string }

var targets = []target{
	{os: "linux", arch: "amd64"},
	{os: "linux", arch: "arm64"},
	{os: "linux", arch: "arm", arm: "7"},
	{os: "darwin", arch: "amd64"},
	{os: "darwin", arch: "arm64"},
	{os: "freebsd", arch: "amd64"},
	{os: "windows", arch: "amd64"},
}

func (t target) String() string {
	if t.arm != "" {
		return t.os + "_" + t.arch + "v" + t.arm
	}
	return t.os + "_" + t.arch
}

// ours reports whether a binary for t runs on this system.
func (t target) ours() bool { return t.os == runtime.GOOS && t.arch == runtime.GOARCH }

func (t target) binary() string {
	if t.os == "windows" {
		return "skerry.exe"
	}
	return "skerry"
}

// environment returns the environment of a build, without settings of this machine that
// change the bytes.
func (t target) environment() []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOOS="+t.os, "GOARCH="+t.arch, "GOARM="+t.arm,
		"GOAMD64=", "GOARM64=", "GOFLAGS=", "GOEXPERIMENT=", "GOFIPS140=", "GOWORK=off")
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	r := release{root: ".", pkg: "./cmd/skerry"}
	flags := flag.NewFlagSet("dist", flag.ExitOnError)
	verify := flags.Bool("verify", false, "verify the release that is there")
	only := flags.String("only", "", "build only these targets, such as linux_amd64,windows_amd64")
	flags.StringVar(&r.folder, "o", "dist", "the `folder` of the release")
	flags.StringVar(&r.version, "version", "", "the version, in place of the commit's")
	flags.BoolVar(&r.modified, "modified", false, "allow a work tree with changes that are not committed")
	flags.BoolVar(&r.bom, "sbom", true, "describe the modules in each binary; downloads the program that does so")
	flags.Parse(args)
	var err error
	if r.targets, err = choose(*only); err != nil {
		return err
	}
	if *verify {
		return r.verify(ctx)
	}
	if err := r.build(ctx); err != nil {
		return err
	}
	return r.verify(ctx)
}

func choose(only string) ([]target, error) {
	if only == "" {
		return targets, nil
	}
	var chosen []target
	for name := range strings.SplitSeq(only, ",") {
		n := len(chosen)
		for _, t := range targets {
			if t.String() == name {
				chosen = append(chosen, t)
			}
		}
		if len(chosen) == n {
			return nil, fmt.Errorf("%q is no target; the targets are %v", name, targets)
		}
	}
	return chosen, nil
}

// goTool runs the go command of the release's root for this system, or for a target.
func (r release) goTool(ctx context.Context, environment []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = r.root, environment, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s: %w", args[0], err)
	}
	return nil
}

func (r release) path(name string) string { return filepath.Join(r.folder, name) }
