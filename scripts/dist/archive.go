package main

import (
	"archive/tar"
	"archive/zip"
	"compress/flate"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// sums is the name of the file of checksums.
const sums = "SHA256SUMS"

// file is one file of an archive, and the file on disk that it is made from.
type file struct {
	name, from string
	mode       fs.FileMode
}

func writeTar(to string, at time.Time, files []file) error {
	return write(to, func(out io.Writer) error {
		z, err := gzip.NewWriterLevel(out, gzip.BestCompression)
		if err != nil {
			return err
		}
		w := tar.NewWriter(z)
		for _, f := range files {
			b, err := os.ReadFile(f.from)
			if err != nil {
				return err
			}
			head := &tar.Header{Name: f.name, Mode: int64(f.mode), Size: int64(len(b)), ModTime: at.UTC(), Format: tar.FormatUSTAR}
			if err := w.WriteHeader(head); err != nil {
				return err
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		return errors.Join(w.Close(), z.Close())
	})
}

func writeZip(to string, at time.Time, files []file) error {
	return write(to, func(out io.Writer) error {
		w := zip.NewWriter(out)
		w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
			return flate.NewWriter(out, flate.BestCompression)
		})
		for _, f := range files {
			b, err := os.ReadFile(f.from)
			if err != nil {
				return err
			}
			head := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: at.UTC()}
			head.SetMode(f.mode)
			entry, err := w.CreateHeader(head)
			if err != nil {
				return err
			}
			if _, err := entry.Write(b); err != nil {
				return err
			}
		}
		return w.Close()
	})
}

func write(to string, fill func(io.Writer) error) error {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(fill(f), f.Close())
}

// extract writes the file of that base name in an archive to a file.
func extract(archive, base, to string) error {
	in, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer in.Close()
	from, err := find(in, archive, base)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	return errors.Join(err, out.Close())
}

func find(in *os.File, archive, base string) (io.Reader, error) {
	if strings.HasSuffix(archive, ".zip") {
		info, err := in.Stat()
		if err != nil {
			return nil, err
		}
		z, err := zip.NewReader(in, info.Size())
		if err != nil {
			return nil, err
		}
		for _, f := range z.File {
			if path.Base(f.Name) == base {
				return f.Open()
			}
		}
		return nil, fmt.Errorf("%s has no file %s", archive, base)
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	r := tar.NewReader(z)
	for {
		head, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("find %s in %s: %w", base, archive, err)
		}
		if path.Base(head.Name) == base {
			return r, nil
		}
	}
}

func sum(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// writeSums writes SHA256SUMS of all files in a folder, ordered by name.
func writeSums(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, e := range entries {
		if e.Name() == sums {
			continue
		}
		h, err := sum(filepath.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", h, e.Name())
	}
	return os.WriteFile(filepath.Join(folder, sums), []byte(b.String()), 0o644)
}

// checkSums returns the names in SHA256SUMS if all files have their sums, and there are
// no others.
func checkSums(folder string) (names []string, err error) {
	b, err := os.ReadFile(filepath.Join(folder, sums))
	if err != nil {
		return nil, err
	}
	listed := map[string]bool{sums: true}
	for line := range strings.Lines(string(b)) {
		want, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || name != filepath.Base(name) {
			return nil, fmt.Errorf("%s has a line of another form: %q", sums, line)
		}
		have, err := sum(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		if have != want {
			return nil, fmt.Errorf("%s has the sum %s, want %s", name, have, want)
		}
		listed[name] = true
		names = append(names, name)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !listed[e.Name()] {
			return nil, fmt.Errorf("%s is not in %s", e.Name(), sums)
		}
	}
	return names, nil
}
