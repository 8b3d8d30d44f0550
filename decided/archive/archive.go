// Package archive is the form of a snapshot: a gzip-compressed tar with
// meta.json, records.jsonl (one decided thing a line) and SHA256SUMS of both. It
// can be read with tar and a JSON tool alone.
package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"
)

// Version is of the format.
const Version = 1

// The names of the parts, in their order.
const (
	metaName    = "meta.json"
	recordsName = "records.jsonl"
	sumsName    = "SHA256SUMS"
)

// Meta says what an archive is.
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

// Kind is what a key's record is: the key up to its first slash.
func Kind(key string) string {
	kind, _, _ := strings.Cut(key, "/")
	return kind
}

// Write writes an archive of the records. It fills in the counts of meta.
func Write(w io.Writer, meta Meta, records iter.Seq[Record]) error {
	// A tar says how long each part is before it, so the records wait in a file.
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
	for r := range records {
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

	zip := gzip.NewWriter(w)
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

// maxMeta bounds the small parts.
const maxMeta = 1 << 20

// Read reads a whole archive and checks it. visit is given each record in its
// order; what it got counts for nothing unless Read returns no error, since the
// checksums come last. Records of more than most bytes in all, unpacked, are refused
// before they are read; 0 takes any.
func Read(r io.Reader, most int64, visit func(Record) error) (Meta, error) {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return Meta{}, damaged("it is not gzip: %w", err)
	}
	pack := tar.NewReader(zip)
	var a reading
	for _, name := range []string{metaName, recordsName, sumsName} {
		h, err := pack.Next()
		if err != nil {
			return Meta{}, damaged("%s is missing: %w", name, err)
		}
		if h.Name != name {
			return Meta{}, damaged("it holds %q where %s should be", h.Name, name)
		}
		if name == recordsName && most > 0 && h.Size > most {
			return Meta{}, fmt.Errorf("the snapshot has %d bytes of records; at most %d are taken here", h.Size, most)
		}
		switch name {
		case metaName:
			err = a.readMeta(pack)
		case recordsName:
			err = a.readRecords(pack, visit)
		default:
			err = a.readSums(pack)
		}
		if err != nil {
			return Meta{}, err
		}
	}
	// The compressed stream has a checksum of its own at its end.
	if _, err := io.Copy(io.Discard, io.LimitReader(zip, maxMeta)); err != nil {
		return Meta{}, damaged("%w", err)
	}
	return a.meta, nil
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("the snapshot is damaged or none: "+format, args...)
}

type reading struct {
	meta                Meta
	metaSum, recordsSum string
}

func (a *reading) readMeta(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, maxMeta))
	if err != nil {
		return damaged("%w", err)
	}
	if err := json.Unmarshal(b, &a.meta); err != nil {
		return damaged("%s: %w", metaName, err)
	}
	if a.meta.Version != Version {
		return fmt.Errorf("the snapshot has format %d; this version of skerry reads format %d", a.meta.Version, Version)
	}
	sum := sha256.Sum256(b)
	a.metaSum = hex.EncodeToString(sum[:])
	return nil
}

func (a *reading) readRecords(r io.Reader, visit func(Record) error) error {
	sum := sha256.New()
	dec := json.NewDecoder(bufio.NewReaderSize(io.TeeReader(r, sum), 1<<16))
	n := 0
	for {
		var one Record
		err := dec.Decode(&one)
		if err == io.EOF {
			break
		}
		if err != nil {
			return damaged("record %d: %w", n+1, err)
		}
		if err := visit(one); err != nil {
			return err
		}
		n++
	}
	if n != a.meta.Records {
		return damaged("it holds %d records and says %d", n, a.meta.Records)
	}
	a.recordsSum = hex.EncodeToString(sum.Sum(nil))
	return nil
}

func (a *reading) readSums(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, maxMeta))
	if err != nil {
		return damaged("%w", err)
	}
	if want := a.metaSum + "  " + metaName + "\n" + a.recordsSum + "  " + recordsName + "\n"; string(b) != want {
		return damaged("the checksums differ")
	}
	return nil
}
