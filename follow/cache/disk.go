package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/files"
	"github.com/skerryhq/skerry/follow"
)

// Each followed service has a file: a line with the checksum of the rest, and the view in JSON. So a process that
// starts while no server can be reached answers what it knew before.

const (
	// keepAfter is the time from a change to its copy on disk, and copyEvery is the least time between two copies of
	// a service.
	keepAfter = 500 * time.Millisecond
	copyEvery = 5 * time.Second
	// currentEvery is how often it is noted that the copies are current.
	currentEvery = time.Minute
	maxCopy      = 256 << 20
	copySuffix   = ".view"
	currentFile  = "current"
)

func (c *Cache) path(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(c.cfg.Dir, hex.EncodeToString(sum[:16])+copySuffix)
}

// load reads the copies. A damaged one is as good as none.
func (c *Cache) load() {
	if c.cfg.Dir == "" {
		return
	}
	entries, err := os.ReadDir(c.cfg.Dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.cfg.Log.Warn("the copies of followed services cannot be read", "error", err)
		}
		return
	}
	if at, err := files.ReadKept(filepath.Join(c.cfg.Dir, currentFile), files.MaxSmall); err == nil {
		if lost, err := time.Parse(time.RFC3339, string(at)); err == nil && lost.Before(time.Now()) {
			c.stand.Store(&stand{lost: lost})
			c.noted = lost
		}
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), copySuffix) || c.count >= c.cfg.MaxServices {
			continue
		}
		path := filepath.Join(c.cfg.Dir, e.Name())
		v, err := read(path)
		if err == nil && c.path(v.Service) != path {
			err = errors.New("it is of another service")
		}
		if err == nil {
			err = c.restore(v)
		}
		if err != nil {
			c.cfg.Log.Warn("the copy of a followed service is damaged, and is removed", "file", e.Name(), "error", err)
			os.Remove(path)
		}
	}
}

var errDamaged = errors.New("its checksum is another")

func read(path string) (*follow.View, error) {
	data, err := files.ReadKept(path, maxCopy)
	if err != nil {
		return nil, err
	}
	sum, body, _ := bytes.Cut(data, []byte("\n"))
	if string(sum) != checksum(body) {
		return nil, errDamaged
	}
	v := new(follow.View)
	return v, json.Unmarshal(body, v)
}

func checksum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// restore follows a service again that the last run followed.
func (c *Cache) restore(v *follow.View) error {
	s := &service{name: v.Service, known: make(chan struct{}), changed: make(chan struct{})}
	s.use(time.Now().Unix())
	view, err := c.follow(s, v)
	if err != nil {
		return err
	}
	s.followed, s.digest = view, v.Digest
	close(s.known)
	c.lay(s)
	c.add(s)
	return nil
}

// keep writes the copies that are older than their views. At the end the time is noted too.
func (c *Cache) keep(end bool) (left bool) {
	if c.cfg.Dir == "" {
		return false
	}
	var dirty []*follow.View
	c.mu.Lock()
	c.names.Range(func(_, v any) bool {
		s := v.(*service)
		switch {
		case !s.dirty:
		case end || time.Since(s.copy) >= copyEvery:
			s.dirty, s.copy = false, time.Now()
			dirty = append(dirty, c.copied(s))
		default:
			left = true
		}
		return true
	})
	c.mu.Unlock()
	for _, v := range dirty {
		body := follow.Encode(v)
		c.wrote(files.Replace(c.path(v.Service), append([]byte(checksum(body)+"\n"), body...)))
	}
	c.removeUnwanted()
	c.noteCurrent(end)
	return left
}

// removeUnwanted removes the copies of services that are not followed any more.
func (c *Cache) removeUnwanted() {
	for {
		select {
		case name := <-c.unwanted:
			if _, again := c.names.Load(name); !again {
				os.Remove(c.path(name))
			}
		default:
			return
		}
	}
}

// noteCurrent notes when the copies were last known to be current.
func (c *Cache) noteCurrent(end bool) {
	st := c.stand.Load()
	at := time.Now().Add(-st.stale())
	if passed := at.Sub(c.noted); passed >= currentEvery || end && passed >= time.Second {
		c.noted = at
		c.wrote(files.Replace(filepath.Join(c.cfg.Dir, currentFile), at.UTC().AppendFormat(nil, time.RFC3339)))
	}
}

// copied returns the view of a service as its copy has it.
func (c *Cache) copied(s *service) *follow.View {
	v := &follow.View{Service: s.name, Digest: s.digest, Whole: true, Cause: s.followed.Cause}
	for _, e := range s.followed.All() {
		v.Entries = append(v.Entries, follow.EntryOf(e, c.cfg.Own.Foreign))
	}
	return v
}

// wrote logs the first error of writes that fail.
func (c *Cache) wrote(err error) {
	failed := c.failed
	c.failed = err != nil
	if err != nil && !failed {
		c.cfg.Log.Warn("the copy of a followed service cannot be written: it is lost with this process", "error", err)
	}
}

var _ skerry.Discovery = (*Cache)(nil)
