package gozero

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"sigs.k8s.io/yaml"
)

// formats reads a file's content as numbers ([json.Number]), texts, truths, nil, lists
// and mappings. Errors are of type errSyntax.
var formats = map[string]func([]byte) (any, error){
	".yaml": readYAML, ".yml": readYAML, ".json": readJSON, ".json5": readJSON5, ".toml": readTOML,
}

// errSyntax has the position at which a file cannot be read, without the text there,
// which may be a secret.
type errSyntax struct {
	format string
	line   int // 0: not known
}

func (e *errSyntax) Error() string {
	if e.line == 0 {
		return "it is no " + e.format
	}
	return fmt.Sprintf("line %d: it is no %s", e.line, e.format)
}

// load returns a block of a file.
func load(file, path string, opts []Option) (*block, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("client/gozero: %w", err)
	}
	if o.env {
		content = []byte(os.ExpandEnv(string(content)))
	}
	b, err := parse(strings.ToLower(filepath.Ext(file)), content, path)
	if err != nil {
		return nil, fmt.Errorf("client/gozero: %s: %w", file, err)
	}
	return b, nil
}

func parse(ext string, content []byte, path string) (*block, error) {
	read := formats[ext]
	if read == nil {
		return nil, fmt.Errorf("the ending %q is no format: want .yaml, .yml, .json, .json5 or .toml", ext)
	}
	value, err := read(content)
	if err != nil {
		return nil, err
	}
	all, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("it is no block of keys and values")
	}
	return (&block{values: all, err: new(error)}).find(path)
}

var lineOf = regexp.MustCompile(`line (\d+)`)

func readYAML(content []byte) (any, error) {
	text, err := yaml.YAMLToJSON(content)
	if err != nil {
		e := &errSyntax{format: "YAML"}
		if m := lineOf.FindStringSubmatch(err.Error()); m != nil {
			e.line, _ = strconv.Atoi(m[1])
		}
		return nil, e
	}
	return readJSON(text)
}

func readJSON(content []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		at := decoder.InputOffset()
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = min(e.Offset, int64(len(content)))
		}
		return nil, &errSyntax{"JSON", 1 + bytes.Count(content[:at], []byte("\n"))}
	}
	return value, nil
}

func readTOML(content []byte) (any, error) {
	var value map[string]any
	if _, err := toml.Decode(string(content), &value); err != nil {
		e := &errSyntax{format: "TOML"}
		if p, ok := errors.AsType[toml.ParseError](err); ok {
			e.line = p.Position.Line
		}
		return nil, e
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, &errSyntax{format: "TOML with numbers that are finite"}
	}
	return readJSON(text)
}
