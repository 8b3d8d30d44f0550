package upgrade

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// lengthKey is of the length of a file whose zeros at the end are left out: logs that are
// allocated beforehand.
const lengthKey = "SKERRY.length"

// Pack writes a folder as a compressed tar.
func Pack(folder, to string) error {
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	err = filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rest := bytes.TrimRight(b, "\x00")
		head := &tar.Header{
			Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(rest)), Format: tar.FormatPAX,
			PAXRecords: map[string]string{lengthKey: strconv.Itoa(len(b))},
		}
		if err := w.WriteHeader(head); err != nil {
			return err
		}
		_, err = w.Write(rest)
		return err
	})
	return errors.Join(err, w.Close(), z.Close(), out.Close())
}

// Unpack restores a folder that [Pack] wrote.
func Unpack(from, folder string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	for r := tar.NewReader(z); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = unpackFile(root, head, r)
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", from, err)
		}
	}
}

func unpackFile(root *os.Root, head *tar.Header, r io.Reader) error {
	length, err := strconv.ParseInt(head.PAXRecords[lengthKey], 10, 64)
	if err != nil {
		return err
	}
	name := filepath.FromSlash(head.Name)
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Truncate(length), f.Close())
}
