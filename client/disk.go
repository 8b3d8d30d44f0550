package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// cacheFile keeps the last good list of one service: a line with the checksum of the
// rest, which is JSON. It is replaced whole, at most once a second.
type cacheFile struct {
	path string // "" keeps nothing
	log  *slog.Logger

	dirty   bool
	written []byte // the body of the file
	timer   *time.Timer
	failed  bool
}

const writeEvery = time.Second

// cached is the content of the file.
type cached struct {
	Service   string           `json:"service"`
	Revision  uint64           `json:"revision,omitempty"`
	Epoch     string           `json:"epoch,omitempty"`
	Instances []cachedInstance `json:"instances"`
}

type cachedInstance struct {
	Instance
	Seen time.Time `json:"seen"`
}

func defaultCacheDir() string {
	if dir, ok := os.LookupEnv("SKERRY_CACHE_DIR"); ok {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "skerry")
}

// newCacheFile returns the file of a service of the source that place stands for; "" is
// one that the program has made itself.
func newCacheFile(dir, place, service string, log *slog.Logger) *cacheFile {
	f := &cacheFile{log: log, timer: time.NewTimer(time.Hour)}
	f.timer.Stop()
	if dir != "" {
		name := url.PathEscape(service)
		if place != "" {
			name += "@" + place
		}
		f.path = filepath.Join(dir, name+".json")
	}
	return f
}

// load reads the list into k, and reports whether there was one. A file that is
// damaged is as good as none.
func (f *cacheFile) load(k *keeper) bool {
	if f.path == "" {
		return false
	}
	data, err := os.ReadFile(f.path)
	if err != nil {
		return false
	}
	sum, body, ok := bytes.Cut(data, []byte("\n"))
	var c cached
	if !ok || string(sum) != checksum(body) || json.Unmarshal(body, &c) != nil {
		f.log.Warn("the cached list of instances is damaged and not used", "file", f.path)
		return false
	}
	for _, i := range c.Instances {
		k.kept = append(k.kept, kept{Instance: i.Instance, seen: i.Seen})
		if i.Seen.After(k.since) {
			k.since = i.Seen
		}
	}
	k.set(k.kept)
	k.known, k.revision, k.epoch = true, c.Revision, c.Epoch
	return true
}

func checksum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// keep wants the list to be written soon. Only live lists are new.
func (f *cacheFile) keep(k *keeper) {
	if f.path != "" && k.freshness == Live && !f.dirty {
		f.dirty = true
		f.timer.Reset(writeEvery)
	}
}

// due ticks when the list is to be written.
func (f *cacheFile) due() <-chan time.Time { return f.timer.C }

// encode returns the body of the file.
func encode(service string, k *keeper) []byte {
	c := cached{Service: service, Revision: k.revision, Epoch: k.epoch, Instances: make([]cachedInstance, len(k.kept))}
	for n, i := range k.kept {
		// Whole hours, so that a list that stays the same need not be written anew.
		c.Instances[n] = cachedInstance{i.Instance, i.seen.UTC().Truncate(time.Hour)}
	}
	body, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		panic(err) // there is nothing in it that JSON cannot say
	}
	return body
}

// write replaces the file. A failure is reported once: the list is in memory still.
func (f *cacheFile) write(body []byte) {
	f.dirty = false
	if bytes.Equal(body, f.written) {
		return
	}
	err := replaceFile(f.path, append([]byte(checksum(body)+"\n"), body...))
	if err == nil {
		f.written = body
	} else if !f.failed {
		f.log.Warn("the list of instances cannot be kept on disk", "error", err)
	}
	f.failed = err != nil
}

func replaceFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".skerry-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err = tmp.Write(data); err == nil {
		err = tmp.Sync()
	}
	if closed := tmp.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
