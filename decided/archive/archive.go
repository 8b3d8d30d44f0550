// Package archive is the form of a snapshot: a gzip-compressed tar with
// meta.json, records.jsonl (one record a line) and SHA256SUMS of both. It can be
// read with tar and a JSON tool alone.
package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"
)

// Version is the version of the format.
const Version = 1

// The names of the parts, in their order.
const (
	metaName    = "meta.json"
	recordsName = "records.jsonl"
	sumsName    = "SHA256SUMS"
)

// Meta describes an archive.
type Meta struct {
	ID         string         `json:"id"`
	Version    int            `json:"version"`
	Software   string         `json:"software"` // "skerry 1.2.3"
	Datacenter string         `json:"datacenter"`
	Node       string         `json:"node"` // the server that made it
	Taken      time.Time      `json:"taken"`
	Index      uint64         `json:"index"`
	Records    int            `json:"records"`
	Kinds      map[string]int `json:"kinds"` // records by kind: the key up to its first slash
}

// Record is one key of the store.
type Record struct {
	Key      string `json:"key"`
	Value    []byte `json:"value"` // base64
	Created  uint64 `json:"created"`
	Modified uint64 `json:"modified"`
}

// Kind returns the kind of a key's record: the key up to its first slash.
func Kind(key string) string {
	kind, _, _ := strings.Cut(key, "/")
	return kind
}

// Write writes an archive of the records. It fills in the counts of meta. It writes
// nothing if records ends with an error.
func Write(w io.Writer, meta Meta, records iter.Seq2[Record, error]) error {
	// A tar has the size of each part before it, so the records go to a file first.
	body, err := os.CreateTemp("", "skerry-snapshot-")
	if err != nil {
		return fmt.Errorf("make room for the snapshot: %w", err)
	}
	defer os.Remove(body.Name())
	defer body.Close()
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(body, sum), 1<<16)
	enc := json.NewEncoder(out)
	meta.Version, meta.Records, meta.Kinds = Version, 0, map[string]int{}
	for r, err := range records {
		if err != nil {
			return err
		}
		if err := enc.Encode(r); err != nil {
			return err
		}
		meta.Records++
		meta.Kinds[Kind(r.Key)]++
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	size, err := body.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	head, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return err
	}
	headSum := sha256.Sum256(head)
	sums := fmt.Appendf(nil, "%x  %s\n%x  %s\n", headSum, metaName, sum.Sum(nil), recordsName)

	zip := &packer{to: w}
	pack := tar.NewWriter(zip)
	for _, part := range []struct {
		name string
		size int64
		from io.Reader
	}{
		{metaName, int64(len(head)), bytes.NewReader(head)},
		{recordsName, size, body},
		{sumsName, int64(len(sums)), bytes.NewReader(sums)},
	} {
		if err := pack.WriteHeader(&tar.Header{Name: part.name, Mode: 0o600, Size: part.size, ModTime: meta.Taken}); err != nil {
			return err
		}
		if _, err := io.Copy(pack, part.from); err != nil {
			return err
		}
	}
	if err := pack.Close(); err != nil {
		return err
	}
	return zip.Close()
}
