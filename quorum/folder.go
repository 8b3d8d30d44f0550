package quorum

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/skerryhq/skerry"
	"github.com/skerryhq/skerry/files"
)

// ErrForeign is the error of a data folder that belongs to another server.
var ErrForeign = errors.New("the data folder belongs to another server")

// claimFile is beside a member's data and names its owner.
const claimFile = "member.json"

// claim is the content of claimFile.
type claim struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	PeerURL string `json:"peer_url"`
}

// claimFolder makes a folder the data folder of this server. A folder without an owner,
// such as that of a member that was alone so far, is taken.
func claimFolder(dir string, p *Peers) error {
	path := filepath.Join(dir, claimFile)
	own := claim{p.ID, p.Name, p.Advertise}
	var was claim
	b, err := files.ReadKept(path, files.MaxSmall)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(b, &was); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if was.ID != own.ID {
			return fmt.Errorf("%w: %s is of %s (id %s), and this server has the id %s: bring its id back, or move the folder away and join the cluster anew",
				ErrForeign, dir, was.Name, was.ID, own.ID)
		}
	}
	if secured(was.PeerURL) && p.TLS == nil && !p.unheard {
		return skerry.Errorf(skerry.Conflict, "the member in %s was moved to TLS, and the others reach it by %s: give this server a certificate again (join_token_file); a cluster does not go back to plain connections", dir, was.PeerURL)
	}
	if was == own {
		return nil
	}
	if b, err = json.Marshal(own); err != nil {
		return err
	}
	return files.Replace(path, b)
}

// PeersOf returns the id, the name and the URL of the member in a folder that can be one of
// several, for [Recover]. It is an error of kind NotFound if there is none.
func PeersOf(dir string) (*Peers, error) {
	b, err := files.ReadKept(filepath.Join(dir, claimFile), files.MaxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, skerry.Errorf(skerry.NotFound, "%s has no member of a quorum of several servers: there is no %s in it", dir, claimFile)
	}
	if err != nil {
		return nil, err
	}
	var c claim
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, claimFile), err)
	}
	return &Peers{ID: c.ID, Name: c.Name, Listen: "127.0.0.1:0", Advertise: c.PeerURL, unheard: true}, nil
}

// HasData reports whether a folder has a member's data that counts: its list of members is
// in it. The rest of a first start that was cut off before the member told the others
// anything does not count: the next start begins anew.
func HasData(dir string) (bool, error) {
	if _, err := os.Lstat(filepath.Join(dir, "member")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return false, err
	}
	_, err := os.Lstat(filepath.Join(dir, beginning))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, err
	default:
		return voted(filepath.Join(dir, "member", "wal")), nil
	}
}

// WasAlone reports whether a folder has the data of a member that never could be one of
// several.
func WasAlone(dir string) (bool, error) {
	has, err := HasData(dir)
	if !has || err != nil {
		return false, err
	}
	_, err = os.Lstat(filepath.Join(dir, claimFile))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// MoveAside moves the data in a member's folder into a new folder inside it, and returns
// that folder's path, or "" if there was no data. It is for a member that was removed
// ([ErrRemoved]): with an empty folder it can join anew. The store must not be open.
func MoveAside(dir string) (string, error) {
	if had, err := HasData(dir); err != nil || !had {
		return "", err
	}
	aside := filepath.Join(dir, "aside-"+time.Now().UTC().Format("20060102T150405.000"))
	if err := os.Mkdir(aside, 0o700); err != nil {
		return "", err
	}
	for _, name := range []string{claimFile, beginning, "member"} { // the data last: it says whether all was moved
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(aside, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return aside, errors.Join(files.SyncFolder(aside), files.SyncFolder(dir))
}
