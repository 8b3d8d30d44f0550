package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/skerryhq/skerry/files"
)

// writtenAgain is the remedy for a damaged file that a server writes again by itself.
const writtenAgain = "remove it: it is written again"

// readKept reads a small file that [writeKept] wrote; there is false if it does not exist. The
// error of a damaged one has the path and the remedy.
func readKept(path string, into any, remedy string) (there bool, err error) {
	text, err := files.ReadKept(path, files.MaxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w; if it is damaged, %s", path, err, remedy)
	}
	return true, nil
}

// writeKept replaces a small file.
func writeKept(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return files.Replace(path, text)
}
