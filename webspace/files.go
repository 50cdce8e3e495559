package webspace

import (
	"context"
	"io"
	"io/fs"
	"net"
	"time"
)

// FileInfo describes a file of a webspace. Owner and group are as the webspace sees them.
type FileInfo struct {
	Name     string // of the last element
	Size     int64
	Mode     fs.FileMode
	UID, GID int
	ModTime  time.Time
	Target   string // of a symbolic link
}

// SFTP opens an SFTP session (protocol version 3) on the files of a webspace, running or not. The webspace is kept awake
// as it is until the connection is closed.
func (s *Service) SFTP(ctx context.Context, uid int) (net.Conn, error) { panic("skeleton") }

// Stat describes a file without following a symbolic link.
func (s *Service) Stat(ctx context.Context, uid int, path string) (FileInfo, error) {
	panic("skeleton")
}

// ReadDir lists a directory by name.
func (s *Service) ReadDir(ctx context.Context, uid int, path string) ([]FileInfo, error) {
	panic("skeleton")
}

// ReadFile opens a file. The caller closes it; the end of ctx closes it too.
func (s *Service) ReadFile(ctx context.Context, uid int, path string) (io.ReadCloser, FileInfo, error) {
	panic("skeleton")
}

// WriteFile writes a file as a whole: what was there stays until all of content has arrived, and an error leaves it.
// info gives Mode (permissions; 0: 0644, or those of the file that is replaced), UID and GID.
func (s *Service) WriteFile(ctx context.Context, uid int, path string, info FileInfo, content io.Reader) error {
	panic("skeleton")
}

// MakeDir makes a directory, and those above it; existing ones are no error.
func (s *Service) MakeDir(ctx context.Context, uid int, path string, info FileInfo) error {
	panic("skeleton")
}

// Remove removes a file, or an empty directory.
func (s *Service) Remove(ctx context.Context, uid int, path string) error { panic("skeleton") }
