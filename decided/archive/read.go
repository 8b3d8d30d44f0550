package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The bounds of Read. The sizes that an archive declares are checked before anything
// is kept, and at most one record is kept at a time.
const (
	// maxMeta bounds meta.json, maxSums SHA256SUMS, in bytes.
	maxMeta = 64 << 10
	maxSums = 1 << 10
	// maxRatio bounds the unpacked size of an archive, as a multiple of its size. Write
	// keeps below half of that.
	maxRatio = 100
)

// limits are the bounds that tests make smaller.
type limits struct {
	// record bounds a record's line, in bytes: a transaction of the store takes
	// 10 MiB, which are 14 MiB in base64.
	record int
	// any is the unpacked size, in bytes, that an archive of any size may have.
	any int64
}

var defaults = limits{record: 16 << 20, any: 64 << 20}

// TooLarge is the error about an archive that unpacks to more than the bound.
type TooLarge struct{ text string }

// Error implements error.
func (e *TooLarge) Error() string { return e.text }

func tooLarge(format string, args ...any) error { return &TooLarge{fmt.Sprintf(format, args...)} }

// Read reads a whole archive and checks it. visit is given each record in its
// order, also those of an archive that turns out to be damaged at its end: the
// checksums come last. Records of more than most bytes in all, unpacked, are refused
// before they are read; 0 takes any. Memory is taken for one record at a time.
func Read(r io.Reader, most int64, visit func(Record) error) (Meta, error) {
	return defaults.read(r, most, visit)
}

func (l limits) read(r io.Reader, most int64, visit func(Record) error) (Meta, error) {
	packed := &counter{from: r}
	zip, err := gzip.NewReader(packed)
	if err != nil {
		return Meta{}, damaged("it is not gzip: %w", err)
	}
	unpacked := &bomb{from: zip, packed: packed, any: l.any}
	pack := tar.NewReader(unpacked)
	var a reading
	for _, part := range []struct {
		name string
		most int64
		read func(io.Reader) error
	}{
		{metaName, maxMeta, a.readMeta},
		{recordsName, most, func(r io.Reader) error { return a.readRecords(r, l.record, visit) }},
		{sumsName, maxSums, a.readSums},
	} {
		h, err := pack.Next()
		if err != nil {
			return Meta{}, damaged("%s is missing: %w", part.name, err)
		}
		if h.Name != part.name {
			return Meta{}, damaged("it holds %q where %s should be", h.Name, part.name)
		}
		if part.most > 0 && h.Size > part.most {
			return Meta{}, tooLarge("the snapshot has %d bytes of %s; at most %d are taken here", h.Size, part.name, part.most)
		}
		if err := part.read(pack); err != nil {
			return Meta{}, err
		}
	}
	// The compressed stream has a checksum of its own at its end.
	rest, err := io.Copy(io.Discard, io.LimitReader(unpacked, maxMeta))
	if err == nil && rest == maxMeta {
		err = errors.New("more follows its last part")
	}
	if err != nil {
		return Meta{}, damaged("%w", err)
	}
	return a.meta, nil
}

func damaged(format string, args ...any) error {
	err := fmt.Errorf("the snapshot is damaged or none: "+format, args...)
	var large *TooLarge
	if errors.As(err, &large) {
		return large
	}
	return err
}

// counter counts the bytes that it passes on.
type counter struct {
	from io.Reader
	n    int64
}

// Read implements [io.Reader].
func (c *counter) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.n += int64(n)
	return n, err
}

// bomb ends a stream that unpacks to far more than its size.
type bomb struct {
	from   io.Reader
	packed *counter
	any    int64
	n      int64
}

// Read implements [io.Reader].
func (b *bomb) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	b.n += int64(n)
	if b.n > b.any && b.n/maxRatio > b.packed.n {
		return 0, tooLarge("the snapshot unpacks to more than %d times its size (%d bytes of %d so far)", maxRatio, b.n, b.packed.n)
	}
	return n, err
}

type reading struct {
	meta                Meta
	metaSum, recordsSum string
}

func (a *reading) readMeta(r io.Reader) error {
	b, err := io.ReadAll(r)
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

func (a *reading) readRecords(r io.Reader, most int, visit func(Record) error) error {
	sum := sha256.New()
	lines := bufio.NewScanner(io.TeeReader(r, sum))
	lines.Buffer(nil, most)
	n := 0
	for lines.Scan() {
		n++
		if n > a.meta.Records {
			return damaged("it holds more than the %d records that it says", a.meta.Records)
		}
		var one Record
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			if lines.Err() != nil {
				break // the line was cut off
			}
			return damaged("record %d: %w", n, err)
		}
		if err := visit(one); err != nil {
			return err
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return tooLarge("record %d of the snapshot has more than %d bytes", n+1, most)
	} else if err != nil {
		return damaged("record %d: %w", n+1, err)
	}
	if n != a.meta.Records {
		return damaged("it holds %d records and says %d", n, a.meta.Records)
	}
	a.recordsSum = hex.EncodeToString(sum.Sum(nil))
	return nil
}

func (a *reading) readSums(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return damaged("%w", err)
	}
	if want := a.metaSum + "  " + metaName + "\n" + a.recordsSum + "  " + recordsName + "\n"; string(b) != want {
		return damaged("the checksums differ")
	}
	return nil
}

// packer compresses its input in separate members of a gzip stream, so that none
// unpacks to more than Read takes.
type packer struct {
	to  io.Writer
	buf bytes.Buffer
	out bytes.Buffer
}

// member is the number of bytes that are compressed at once.
const member = 1 << 20

// Write implements [io.Writer].
func (p *packer) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		k := min(len(b), member-p.buf.Len())
		p.buf.Write(b[:k])
		n, b = n+k, b[k:]
		if p.buf.Len() == member {
			if err := p.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (p *packer) flush() error {
	// Without matches there are 8 bytes in one at most.
	for _, level := range []int{gzip.DefaultCompression, gzip.HuffmanOnly} {
		p.out.Reset()
		zip, err := gzip.NewWriterLevel(&p.out, level)
		if err != nil {
			return err
		}
		if _, err := zip.Write(p.buf.Bytes()); err != nil {
			return err
		}
		if err := zip.Close(); err != nil {
			return err
		}
		if p.buf.Len() < maxRatio/2*p.out.Len() {
			break
		}
	}
	p.buf.Reset()
	_, err := p.to.Write(p.out.Bytes())
	return err
}

// Close writes the rest of the input.
func (p *packer) Close() error { return p.flush() }
