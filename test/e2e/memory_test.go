package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
)

// peak returns the most memory that the agent ever had, in bytes.
func (a *agent) peak() int {
	a.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		a.t.Skip("there is no /proc here: ", err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		a.t.Fatal(err)
	}
	return kb << 10
}

// A snapshot that unpacks to far more than it is is refused with little memory.
func TestASnapshotThatIsABombIsRefused(t *testing.T) {
	t.Parallel()
	agents := []*agent{start(t, nil), start(t, nil), start(t, nil)}
	line := `{"key":"kv/` + strings.Repeat("0", 100_000) + `"}` + "\n"
	const lines, chunks = 256, 40
	unpacked := chunks * lines * len(line) // without padding: a multiple of the 512 bytes of a block
	meta := fmt.Sprintf(`{"version":1,"records":%d}`, chunks*lines)
	var head, bomb bytes.Buffer
	pack := tar.NewWriter(&head)
	pack.WriteHeader(&tar.Header{Name: "meta.json", Mode: 0o600, Size: int64(len(meta))})
	pack.Write([]byte(meta))
	if err := pack.WriteHeader(&tar.Header{Name: "records.jsonl", Mode: 0o600, Size: int64(unpacked)}); err != nil {
		t.Fatal(err)
	}
	// A gzip file of many members: to compress the same chunk again would take a minute.
	bomb.Write(member(head.Bytes()))
	chunk := member([]byte(strings.Repeat(line, lines)))
	for range chunks {
		bomb.Write(chunk)
	}
	bomb.Write(member(make([]byte, 1024)))
	const most = 16 << 20 // beside ten times the size of the bomb
	took := func(a *agent) int {
		a.key("kept", "v")
		before := a.peak()
		r := a.request("PUT", "/v1/snapshot", bomb.String())
		if r.status != http.StatusBadRequest || !strings.Contains(r.body, "times its size") {
			t.Errorf("%d bytes that unpack to %d were answered %d %s", bomb.Len(), unpacked, r.status, r.body)
		}
		if r := a.request("GET", "/v1/kv/kept?raw", ""); r.body != "v" {
			t.Errorf("the store is another: %d %s", r.status, r.body)
		}
		return a.peak() - before
	}
	// The moment of a collection moves the peak by some MiB: the least of three counts.
	more := took(agents[0])
	for _, a := range agents[1:] {
		if more > 10*bomb.Len()+most {
			more = min(more, took(a))
		}
	}
	if more > 10*bomb.Len()+most {
		t.Errorf("%d bytes that unpack to %d took %d MiB, more than %d", bomb.Len(), unpacked, more>>20, (10*bomb.Len()+most)>>20)
	}
	t.Logf("%d bytes that unpack to %d took %d MiB", bomb.Len(), unpacked, more>>20)
}

// member returns a member of a gzip file.
func member(content []byte) []byte {
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	zip.Write(content)
	zip.Close()
	return b.Bytes()
}

// Reads of keys that are not there leave nothing behind, however long they are.
func TestReadsOfMissingKeysKeepNothing(t *testing.T) {
	t.Parallel()
	a := start(t, nil)
	read := func(n int) {
		r := a.request("GET", fmt.Sprintf("/v1/kv/%d/%s", n, strings.Repeat("k", 3_900)), "")
		if r.status/100 != 4 {
			t.Fatalf("a missing key: %d %.100s", r.status, r.body)
		}
	}
	for n := range 2_000 {
		read(n)
	}
	before := a.peak()
	for n := range 10_000 {
		read(n)
	}
	if more := a.peak() - before; more > 24<<20 { // they are 39 MB together
		t.Errorf("10,000 reads of missing keys of 4 KB took %d MiB more", more>>20)
	}
}
