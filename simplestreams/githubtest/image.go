package githubtest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/ulikunitz/xz"
)

// Entry is one of a tar.
type Entry struct {
	tar.Header
	Body string
}

// Tar writes a tar, compressed as xz.
func Tar(entries ...Entry) []byte {
	var b bytes.Buffer
	x, err := xz.NewWriter(&b)
	if err != nil {
		panic(err)
	}
	t := tar.NewWriter(x)
	for _, e := range entries {
		e.Size = int64(len(e.Body))
		if e.Typeflag == 0 {
			e.Typeflag = tar.TypeReg
		}
		if e.Mode == 0 {
			e.Mode = 0o644
		}
		if err := t.WriteHeader(&e.Header); err != nil {
			panic(err)
		}
		if _, err := t.Write([]byte(e.Body)); err != nil {
			panic(err)
		}
	}
	if err := t.Close(); err != nil {
		panic(err)
	}
	if err := x.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// YAML is the text of a metadata.yaml.
func YAML(arch string, created time.Time, properties string) string {
	return fmt.Sprintf("architecture: %s\ncreation_date: %d\nexpiry_date: %d\nproperties: {os: testos, release: r1, description: an image for tests%s}\ntemplates: {}\n",
		arch, created.Unix(), created.AddDate(2, 0, 0).Unix(), properties)
}

// Metadata is an lxd.tar.xz.
func Metadata(arch string, created time.Time, properties string) []byte {
	return Tar(Entry{tar.Header{Name: "metadata.yaml"}, YAML(arch, created, properties)}, Entry{tar.Header{Name: "templates/", Typeflag: tar.TypeDir, Mode: 0o755}, ""})
}

// Combined is the fingerprint of a split image.
func Combined(metadata, root []byte) string {
	h := sha256.New()
	h.Write(metadata)
	h.Write(root)
	return fmt.Sprintf("%x", h.Sum(nil))
}

// Split are the assets of an image as the seed's workflow makes them: metadata, root, and a checksum of each and of both.
func Split(arch string, metadata, root []byte) []*File {
	lxd, rootfs := "lxd."+arch+".tar.xz", "rootfs."+arch+".squashfs"
	return []*File{Bytes(lxd, metadata), Sum(lxd, metadata), Bytes(rootfs, root), Sum(rootfs, root), Bytes("combined."+arch+".sha256", []byte(Combined(metadata, root)+"  -\n"))}
}

// Legacy takes the digests of assets away, as of a time before GitHub had them.
func Legacy(files []*File) []*File {
	for _, f := range files {
		f.Digest = NoDigest
	}
	return files
}
