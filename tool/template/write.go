package template

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/skerryhq/skerry/tool/child"
)

// commandTimeout is how long a command of a template, or the one that validates,
// may take.
const commandTimeout = 30 * time.Second

// commandGrace is how long it may take to end then. Processes that a command leaves when
// it ends in time go on: one may be a service that was restarted.
const commandGrace = 5 * time.Second

// place puts contents in the place of a file: never half of them, and not before
// they are valid. It reports whether the file was another before.
func (r *runner) place(ctx context.Context, dest string, contents []byte) (changed bool, err error) {
	// A link stays one: its target is replaced.
	if target, err := filepath.EvalSymlinks(dest); err == nil {
		dest = target
	}
	before, err := os.ReadFile(dest)
	if err == nil && bytes.Equal(before, contents) {
		return false, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if r.Dry {
		_, err := fmt.Fprintf(r.Stdout, "> %s\n%s", dest, contents)
		return true, err
	}
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return false, err
	}
	temp, err := r.write(dest, contents)
	if err != nil {
		return false, err
	}
	defer os.Remove(temp) // after the rename it is gone already
	if err := r.validate(ctx, temp); err != nil {
		return false, err
	}
	if r.Backup {
		if err := backup(dest); err != nil {
			return false, err
		}
	}
	if err := os.Rename(temp, dest); err != nil {
		return false, err
	}
	return true, syncFolder(filepath.Dir(dest))
}

// write writes a file beside dest, with dest's permissions and, where that is
// allowed, its owner.
func (r *runner) write(dest string, contents []byte) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(dest), "."+filepath.Base(dest)+"-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(dest); err == nil {
		mode = info.Mode().Perm()
		if err := chown(f, info); err != nil {
			r.Log.Warn("the file's owner cannot be kept", "file", dest, "error", err)
		}
	}
	if err := f.Chmod(mode); err != nil {
		return "", err
	}
	if _, err := f.Write(contents); err != nil {
		return "", err
	}
	return f.Name(), f.Sync()
}

// validate runs the user's command on a file that is not in its place yet.
func (r *runner) validate(ctx context.Context, file string) error {
	if r.Validate == "" {
		return nil
	}
	// A variable needs no quotes of ours, whatever the path holds.
	line := strings.ReplaceAll(r.Validate, "{}", `"$SKERRY_TEMPLATE"`)
	if err := r.command(ctx, line, "SKERRY_TEMPLATE="+file); err != nil {
		return fmt.Errorf("-validate refused the rendered file: %w", err)
	}
	return nil
}

// command runs a line of the shell. Its output is in the error when it fails, and goes to
// standard error otherwise.
func (r *runner) command(ctx context.Context, line string, env ...string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	var printed bytes.Buffer
	err := child.Run(ctx, child.Spec{
		Command: child.Shell(line), Env: append(os.Environ(), env...), Stdout: &printed, Stderr: &printed,
		Rest: child.LeaveRest, KillAfter: commandGrace, Log: r.Log,
	})
	out := printed.Bytes()
	if err == nil {
		_, err = r.Stderr.Write(out)
		return err
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("it took longer than %v", commandTimeout)
	}
	const most = 2000
	return fmt.Errorf("%s: %w\n%s", line, err, bytes.TrimSpace(out[:min(len(out), most)]))
}

// backup keeps the file under another name, FILE.bak.
func backup(dest string) error {
	if err := os.Remove(dest + ".bak"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(dest, dest+".bak"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncFolder makes a rename in a folder last.
func syncFolder(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	err = f.Sync()
	return errors.Join(err, f.Close())
}
