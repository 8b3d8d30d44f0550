package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/files"
)

// Source is where a configuration comes from. Later ones win: defaults, Files, Dirs, HCL,
// Flags. Lists append and maps merge.
type Source struct {
	// Files are HCL or JSON files, told apart by their ending, else by their first
	// byte. A folder among them is read as one of Dirs.
	Files []string
	// Dirs are folders of *.hcl and *.json files, read in the order of their names.
	// Folders in them are not.
	Dirs []string
	// HCL are fragments of configuration from the command line.
	HCL []string
	// Flags are values by the path of their key ("ports.http"): strings, booleans,
	// ints, []string or map[string]string. A string may stand for a number or boolean.
	Flags map[string]any
	// Dev begins with the defaults of dev mode.
	Dev bool
}

// Warning is about a key that was accepted and does less than its writer may think.
type Warning struct {
	Key     string // its path
	File    string // "" for flags
	Line    int    // 0 when not known
	Message string // the text of the warning
	later   bool   // the key is without effect yet
}

// String implements [fmt.Stringer].
func (w Warning) String() string {
	at := ""
	if w.File != "" {
		at = " (" + w.File
		if w.Line > 0 {
			at += ":" + strconv.Itoa(w.Line)
		}
		at += ")"
	}
	return w.Key + " " + w.Message + at
}

// Load brings the sources together. Keys that cannot be read, are unknown or have the
// wrong type are reported in one joined error, whose parts are of kind [skerry.Invalid];
// then there is no Config. [Config.Validate] reports values that can be read and do not
// work.
func Load(src Source) (*Config, []Warning, error) {
	c := Default()
	if src.Dev {
		c.dev()
	}
	var warnings []Warning
	var errs []error
	var sources []source
	take := func(name string, data []byte) {
		root, err := parse(name, data)
		if err != nil {
			errs = append(errs, skerry.Errorf(skerry.Invalid, "%w", err))
			return
		}
		sources = append(sources, source{name, root})
	}
	names, err := listed(src)
	errs = append(errs, err...)
	if len(names) > maxFiles {
		return nil, nil, skerry.Errorf(skerry.Invalid, "configuration: %d files are named, more than %d; put several into one", len(names), maxFiles)
	}
	for _, name := range names {
		data, err := files.ReadPiped(name, files.MaxConfig)
		if err != nil {
			errs = append(errs, skerry.Errorf(skerry.Invalid, "configuration file: %w", err))
			continue
		}
		take(name, data)
	}
	for i, fragment := range src.HCL {
		take(fmt.Sprintf("hcl fragment %d", i+1), []byte(fragment))
	}
	legacy := legacyOf(sources, src.Flags)
	for _, s := range sources {
		d := &decoder{file: s.name, set: c.set, legacy: legacy}
		d.structure(reflect.ValueOf(c).Elem(), d.modernised(s.root), "")
		warnings = append(warnings, d.warnings...)
		errs = append(errs, d.errs...)
	}
	flagWarnings, flagErrs := c.flags(src.Flags)
	warnings = append(warnings, flagWarnings...)
	errs = append(errs, flagErrs...)
	if err := errors.Join(errs...); err != nil {
		return nil, warnings, err
	}
	c.derive()
	if err := c.expand(); err != nil {
		return nil, warnings, err
	}
	warnings = slices.DeleteFunc(warnings, func(w Warning) bool { return w.later && c.asksNothing(w.Key) })
	return c, warnings, nil
}

// source is one file or fragment.
type source struct {
	name string
	root *value
}

// legacyOf returns legacy_api ahead of all else: it sets how files are understood, also
// those before the one that sets it.
func legacyOf(sources []source, flags map[string]any) (legacy bool) {
	for _, s := range sources {
		for _, m := range s.root.members {
			if plainKey(m.key) == plainKey("legacy_api") {
				legacy = m.value.kind == boolean && m.value.text == "true"
			}
		}
	}
	if set, ok := flags["legacy_api"].(bool); ok {
		return set
	}
	return legacy
}

// maxFiles is how many files a configuration may consist of.
const maxFiles = 10_000

// listed returns the files of a source in their order.
func listed(src Source) (names []string, errs []error) {
	dir := func(name string) {
		entries, err := os.ReadDir(name)
		if err != nil {
			errs = append(errs, skerry.Errorf(skerry.Invalid, "configuration folder: %w", err))
			return
		}
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".hcl" || ext == ".json") {
				names = append(names, filepath.Join(name, e.Name()))
			}
		}
	}
	for _, name := range src.Files {
		if info, err := os.Stat(name); err == nil && info.Mode().Type() == fs.ModeDir {
			dir(name)
			continue
		}
		names = append(names, name)
	}
	for _, name := range src.Dirs {
		dir(name)
	}
	return names, errs
}

func (c *Config) flags(given map[string]any) ([]Warning, []error) {
	d := &decoder{set: c.set, loose: true}
	root := &value{kind: object}
	for _, path := range sortedKeys(given) {
		v, err := fromGo(given[path])
		if err != nil {
			d.errorf(0, "%s: %v", path, err)
			continue
		}
		parts := strings.Split(path, ".")
		for _, p := range slices.Backward(parts[1:]) {
			outer := &value{kind: object}
			outer.set(p, 0, v)
			v = outer
		}
		root.set(parts[0], 0, v)
	}
	d.structure(reflect.ValueOf(c).Elem(), root, "")
	return d.warnings, d.errs
}
