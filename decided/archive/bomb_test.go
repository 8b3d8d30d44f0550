package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// zeros is n bytes of one text.
func zeros(n int) io.Reader { return io.LimitReader(endless{}, int64(n)) }

type endless struct{}

// Read implements [io.Reader].
func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '0'
	}
	return len(b), nil
}

// forged packs parts whose headers may say another size than they have.
func forged(t testing.TB, meta string, size int64, records io.Reader) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	if err := w.WriteHeader(&tar.Header{Name: metaName, Size: int64(len(meta))}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, meta)
	if err := w.WriteHeader(&tar.Header{Name: recordsName, Size: size, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	io.Copy(w, records)
	if err := errors.Join(zip.Close()); err != nil { // not w: it would count the bytes
		t.Fatal(err)
	}
	return out.Bytes()
}

// peak is the most memory that was taken while f ran, in bytes: what is allocated in
// all is more, what is held at the end is less.
func peak(t testing.TB, f func()) uint64 {
	t.Helper()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// small are bounds that a test can reach.
var small = limits{record: 256 << 10, any: 1 << 20}

// What says much, or unpacks to much, is refused with little memory.
func TestBombsAreRefused(t *testing.T) {
	meta := `{"version":1,"records":1}`
	line := `{"key":"` + strings.Repeat("0", 4000) + `"}` + "\n"
	for _, c := range []struct {
		name   string
		b      []byte
		most   int64
		text   string
		memory uint64 // bytes
	}{
		{"one endless record", forged(t, meta, 1<<33, zeros(2<<20)), 1 << 34, "has more than 262144 bytes", 4 * 256 << 10},
		{"many records that are nearly nothing", forged(t, `{"version":1,"records":1000000000}`, 1<<33, strings.NewReader(strings.Repeat(line, 1000))), 1 << 34, "times its size", 64 << 20},
		{"a size that is declared alone", forged(t, meta, 1<<40, zeros(10)), 1 << 34, "at most", 1 << 20},
		{"a large head", forged(t, meta+strings.Repeat(" ", 1<<20), 10, zeros(10)), 0, "at most 65536", 1 << 20},
	} {
		used := peak(t, func() {
			_, err := small.read(bytes.NewReader(c.b), c.most, func(Record) error { return nil })
			var large *TooLarge
			if !errors.As(err, &large) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v", c.name, err)
			}
		})
		if used > c.memory {
			t.Errorf("%s of %d bytes took %d bytes of memory, more than %d", c.name, len(c.b), used, c.memory)
		}
	}
}

// What a store may hold can be read again, however well it packs.
func TestWhatPacksWellIsReadAgain(t *testing.T) {
	value := make([]byte, 100<<10)
	many := func(yield func(Record, error) bool) {
		for i := range 20 {
			if !yield(Record{Key: fmt.Sprintf("kv/%d", i), Value: value}, nil) {
				return
			}
		}
	}
	var out bytes.Buffer
	if err := Write(&out, Meta{}, many); err != nil {
		t.Fatal(err)
	}
	n := 0
	if _, err := small.read(bytes.NewReader(out.Bytes()), 0, func(Record) error { n++; return nil }); err != nil || n != 20 {
		t.Errorf("%d records of %d bytes: %v", n, out.Len(), err)
	}
	t.Logf("%d bytes of records are packed into %d", 20*len(value), out.Len())
}

// An error among the records leaves nothing behind.
func TestAnErrorAmongTheRecordsWritesNothing(t *testing.T) {
	var out bytes.Buffer
	broken := errors.New("broken")
	err := Write(&out, Meta{}, func(yield func(Record, error) bool) {
		_ = yield(Record{Key: "kv/a"}, nil) && yield(Record{}, broken)
	})
	if !errors.Is(err, broken) || out.Len() > 0 {
		t.Errorf("%d bytes, error %v", out.Len(), err)
	}
}
