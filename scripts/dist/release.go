package main

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// bomTool describes the modules in a binary.
const bomTool = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"

// release is the targets of a release and its folder.
type release struct {
	root, pkg string // the module's folder, and the main package in it
	folder    string
	version   string // "": the commit's
	modified  bool
	bom       bool
	targets   []target
}

// stamp is the description of its build in a binary.
type stamp struct {
	version, revision string
	at                time.Time
	modified          bool
}

func readStamp(binary string) (s stamp, err error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return s, err
	}
	s.version = strings.TrimPrefix(info.Main.Version, "v")
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			s.revision = setting.Value
		case "vcs.time":
			if s.at, err = time.Parse(time.RFC3339, setting.Value); err != nil {
				return s, err
			}
		case "vcs.modified":
			s.modified = setting.Value == "true"
		}
	}
	if s.revision == "" {
		return s, errors.New("the binary names no commit; build in a clone: Go sees no commit in a linked work tree")
	}
	return s, nil
}

// build replaces the release's folder.
func (r release) build(ctx context.Context) error {
	if err := os.RemoveAll(r.folder); err != nil {
		return err
	}
	if err := os.MkdirAll(r.folder, 0o755); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "skerry-dist-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	for _, t := range r.targets {
		if err := r.buildTarget(ctx, t, filepath.Join(scratch, t.String(), t.binary())); err != nil {
			return fmt.Errorf("%v: %w", t, err)
		}
	}
	return writeSums(r.folder)
}

func (r release) buildTarget(ctx context.Context, t target, binary string) error {
	flags := "-s -w"
	if r.version != "" {
		flags += " -X main.version=" + r.version
	}
	if err := r.goTool(ctx, t.environment(), "build", "-trimpath", "-buildvcs=true", "-ldflags", flags, "-o", binary, r.pkg); err != nil {
		return err
	}
	built, err := readStamp(binary)
	if err != nil {
		return err
	}
	if built.modified && !r.modified {
		return errors.New("the work tree has changes that are not committed; commit them, or set -modified")
	}
	name := "skerry_" + cmp.Or(r.version, built.version) + "_" + t.String()
	fmt.Println(name)
	files := []file{
		{name: name + "/" + t.binary(), from: binary, mode: 0o755},
		{name: name + "/LICENSE", from: filepath.Join(r.root, "LICENSE"), mode: 0o644},
		{name: name + "/README.md", from: filepath.Join(r.root, "README.md"), mode: 0o644},
	}
	if r.bom {
		if err := r.describe(ctx, binary, r.path(name+".cdx.json"), cmp.Or(r.version, built.version)); err != nil {
			return err
		}
	}
	if t.os == "windows" {
		return writeZip(r.path(name+".zip"), built.at, files)
	}
	return writeTar(r.path(name+".tar.gz"), built.at, files)
}

// describe writes a CycloneDX document. It has no serial number, no time, and no hash of
// the program that made it, so that it is the same for the same binary.
func (r release) describe(ctx context.Context, binary, to, version string) error {
	raw := binary + ".json"
	here := append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0")
	if err := r.goTool(ctx, here, "run", bomTool, "bin", "-json", "-std", "-noserial", "-notimestamp",
		"-version", "v"+version, "-output", raw, binary); err != nil {
		return err
	}
	b, err := os.ReadFile(raw)
	if err != nil {
		return err
	}
	var bom map[string]any
	if err := json.Unmarshal(b, &bom); err != nil {
		return err
	}
	if metadata, ok := bom["metadata"].(map[string]any); ok {
		tools, _ := metadata["tools"].([]any)
		for _, tool := range tools {
			if tool, ok := tool.(map[string]any); ok {
				delete(tool, "hashes")
			}
		}
	}
	if b, err = json.MarshalIndent(bom, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(to, append(b, '\n'), 0o644)
}

// verify compares all files with SHA256SUMS, and runs the binary for this system, if the
// release has one.
func (r release) verify(ctx context.Context) error {
	names, err := checkSums(r.folder)
	if err != nil {
		return err
	}
	for _, name := range names {
		for _, t := range r.targets {
			version, ok := versionIn(name, t)
			if !ok || !t.ours() {
				continue
			}
			if err := runs(ctx, r.path(name), t, version); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			fmt.Printf("%s runs, and is version %s\n", name, version)
		}
	}
	fmt.Printf("%d files match %s\n", len(names), sums)
	return nil
}

// versionIn returns the version in an archive's name; ok is false if it is none for t.
func versionIn(name string, t target) (version string, ok bool) {
	for _, suffix := range []string{".tar.gz", ".zip"} {
		if rest, found := strings.CutSuffix(name, "_"+t.String()+suffix); found {
			return strings.CutPrefix(rest, "skerry_")
		}
	}
	return "", false
}

// runs unpacks the binary of an archive, and asks it for its version.
func runs(ctx context.Context, archive string, t target, version string) error {
	scratch, err := os.MkdirTemp("", "skerry-dist-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	binary := filepath.Join(scratch, t.binary())
	if err := extract(archive, t.binary(), binary); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, binary, "version", "-format", "json").Output()
	if err != nil {
		return err
	}
	var says struct{ Version, Revision string }
	if err := json.Unmarshal(out, &says); err != nil {
		return err
	}
	built, err := readStamp(binary)
	if err != nil {
		return err
	}
	if says.Version != version || says.Revision != built.revision {
		return fmt.Errorf("the binary says version %q of commit %q, want %q of %q", says.Version, says.Revision, version, built.revision)
	}
	return nil
}
