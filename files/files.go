// Package files reads the files that a process is given, and opens those that it keeps,
// so that no device, pipe, endless file or planted link can hang it, fill its memory, or
// make it write elsewhere.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// MaxConfig, MaxPEM and MaxSmall bound files in bytes.
const (
	MaxConfig = 16 << 20 // of configuration
	MaxPEM    = 4 << 20  // of certificates and keys: a bundle of all public authorities has 0.2 MB
	MaxSmall  = 64 << 10 // that hold an id, a key or a few tokens
)

// Read returns the content of a file of at most so many bytes. Links are followed; their
// target must be a regular file.
func Read(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, notRegular(path, info.Mode())
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0) // it may have become a pipe
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, notRegular(path, info.Mode())
	}
	return read(f, path, info.Size(), most)
}

// pipeWithin is how long the writer of a pipe may take.
const pipeWithin = 10 * time.Second

// ReadPiped is Read for a file named on a command line: that may be a
// pipe too, as a shell makes it of <(program).
func ReadPiped(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		return Read(path, most)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	f.SetReadDeadline(time.Now().Add(pipeWithin)) // where pipes have none, the writer must end
	b, err := read(f, path, 0, most)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("%s is a pipe whose writer did not end within %v", path, pipeWithin)
	case err == nil && len(b) == 0:
		return nil, fmt.Errorf("%s is a pipe without a writer; a pipe can be read once, at the start", path)
	}
	return b, err
}

func read(f io.Reader, path string, size, most int64) ([]byte, error) {
	if size > most {
		return nil, tooLarge(path, most)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		return nil, tooLarge(path, most)
	}
	return b, err
}

func tooLarge(path string, most int64) error {
	return fmt.Errorf("%s has more than %d bytes; make it smaller", path, most)
}

func notRegular(path string, m fs.FileMode) error {
	what := "is no file"
	switch {
	case m.IsDir():
		what = "is a folder"
	case m&fs.ModeSymlink != 0:
		what = "is a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		what = "is a pipe"
	case m&fs.ModeDevice != 0:
		what = "is a device"
	case m&fs.ModeSocket != 0:
		what = "is a socket"
	}
	return fmt.Errorf("%s %s; put a regular file there", path, what)
}

// Open opens a file that this process keeps. It follows no link and opens only regular
// files, so that a user that can write to the folder cannot have another file written to.
func Open(path string, flag int, perm fs.FileMode) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, notRegular(path, info.Mode())
	}
	truncate := flag & os.O_TRUNC
	f, err := os.OpenFile(path, flag&^os.O_TRUNC|nofollow|nonblock, perm)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(path, info.Mode())
	}
	if err == nil && truncate != 0 {
		err = f.Truncate(0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ReadKept is Read for a file that this process keeps: no link is followed.
func ReadKept(path string, most int64) ([]byte, error) {
	f, err := Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return read(f, path, 0, most)
}

// WriteNew makes a file that must not be there yet, for the owner alone, and syncs it.
func WriteNew(path string, data []byte) error {
	f, err := Open(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// WriteOver makes a file, or writes over the one that is there; no link is followed.
func WriteOver(path string, data []byte, perm fs.FileMode) error {
	f, err := Open(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// Replace replaces a file, for the owner alone: it has the old content or the new one,
// whenever the process ends.
func Replace(path string, data []byte) error {
	f, err := Open(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// SyncFolder makes the names of new and renamed files in a folder last.
func SyncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// MakeFolder makes a folder that this process keeps files in, unless it is there. A
// link in its place must be this process's user's or the superuser's.
func MakeFolder(path string, perm fs.FileMode) error {
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 && !trusted(info) {
		return fmt.Errorf("%s is a symbolic link of another user; remove it, or make it as the user that this process has", path)
	}
	return os.MkdirAll(path, perm)
}

// Exposed checks the permissions of a folder that this process keeps, and of these secret
// files in it. Missing files are no fault.
func Exposed(folder string, secrets ...string) (warnings []string) {
	if info, err := os.Stat(folder); err == nil && info.Mode()&0o002 != 0 {
		warnings = append(warnings, fmt.Sprintf("everybody can write to %s, and so put files of their own there; chmod o-w it", folder))
	}
	for _, name := range secrets {
		path := filepath.Join(folder, name)
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o006 != 0 {
			warnings = append(warnings, fmt.Sprintf("everybody can read or write %s, which is secret; chmod 600 it", path))
		}
	}
	return warnings
}
