package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/skerryhq/skerry/pki/join"
)

// Book keeps join tokens in a folder. It implements [join.Book] for the time before the quorum store has a majority.
type Book struct {
	folder Folder
	mu     *sync.Mutex
}

// Tokens is what a [Book] keeps.
type Tokens struct {
	Entries map[string]join.Entry   `json:"tokens"`
	Keys    map[string]join.NodeKey `json:"nodes"`
}

// Book returns the book of a folder. A process has one at a time.
func (f Folder) Book() Book { return Book{f, new(sync.Mutex)} }

// Tokens returns all tokens and keys. The error is [fs.ErrNotExist] if there are none.
func (b Book) Tokens() (t Tokens, err error) {
	text, err := b.folder.read(tokensFile)
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return t, fmt.Errorf("%s: %w", b.folder.path(tokensFile), err)
	}
	return t, nil
}

func (b Book) save(t Tokens) error {
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	return b.folder.write(tokensFile, text)
}

// Add keeps a new token.
func (b Book) Add(id join.ID, e join.Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, err := b.Tokens()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if t.Entries == nil {
		t.Entries = map[string]join.Entry{}
	}
	t.Entries[id.String()] = e
	return b.save(t)
}

// Change implements [join.Book].
func (b Book) Change(_ context.Context, id join.ID, node string, change func(*join.Entry, *join.NodeKey) (*join.Entry, *join.NodeKey, error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, err := b.Tokens()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var e *join.Entry
	var k *join.NodeKey
	if v, ok := t.Entries[id.String()]; ok {
		e = &v
	}
	if v, ok := t.Keys[node]; ok {
		k = &v
	}
	if e, k, err = change(e, k); err != nil {
		return err
	}
	if t.Keys == nil {
		t.Keys = map[string]join.NodeKey{}
	}
	t.Entries[id.String()], t.Keys[node] = *e, *k
	return b.save(t)
}

// HandOver gives all that is kept to another book, and forgets it then. No token is used meanwhile.
func (b Book) HandOver(to func(Tokens) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, err := b.Tokens()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = to(t)
	}
	if err != nil {
		return err
	}
	return os.Remove(b.folder.path(tokensFile))
}
