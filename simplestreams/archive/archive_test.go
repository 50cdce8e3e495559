package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/simplestreams/archive"
	"github.com/lanyard-project/lanyard/simplestreams/githubtest"
)

var made = time.Date(2021, 11, 30, 1, 2, 3, 0, time.UTC)

func entry(h tar.Header, body string) githubtest.Entry {
	return githubtest.Entry{Header: h, Body: body}
}

func metadata(name string) githubtest.Entry {
	return entry(tar.Header{Name: name}, githubtest.YAML("x86_64", made, ", variant: x"))
}

func TestSplit(t *testing.T) {
	good := metadata("./metadata.yaml") // as tar -C dir . writes it
	link := func(name, to string, kind byte) githubtest.Entry {
		return entry(tar.Header{Name: name, Linkname: to, Typeflag: kind}, "")
	}
	many := []githubtest.Entry{good}
	for k := range archive.MaxEntries {
		many = append(many, entry(tar.Header{Name: fmt.Sprintf("templates/%d", k)}, ""))
	}
	for _, x := range []struct {
		name    string
		data    []byte
		problem string
	}{
		{"good", githubtest.Tar(good, entry(tar.Header{Name: "templates/x.tpl"}, "x"), link("templates/y", "x.tpl", tar.TypeSymlink)), ""},
		{"without", githubtest.Tar(entry(tar.Header{Name: "rootfs/metadata.yaml"}, "x")), "no metadata.yaml"},
		{"twice", githubtest.Tar(good, metadata("metadata.yaml")), "twice"},
		{"folder", githubtest.Tar(link("metadata.yaml", "", tar.TypeDir)), "no regular file"},
		{"link", githubtest.Tar(link("metadata.yaml", "other", tar.TypeSymlink)), "no regular file"},
		{"absolute", githubtest.Tar(good, entry(tar.Header{Name: "/etc/passwd"}, "")), "hostile"},
		{"parent", githubtest.Tar(good, entry(tar.Header{Name: "templates/../../x"}, "")), "hostile"},
		{"link outside", githubtest.Tar(good, link("templates/x", "../../etc/shadow", tar.TypeSymlink)), "hostile"},
		{"absolute link", githubtest.Tar(good, link("templates/x", "/etc/shadow", tar.TypeSymlink)), "hostile"},
		{"hard link", githubtest.Tar(good, link("templates/x", "metadata.yaml", tar.TypeLink)), "neither"},
		{"device", githubtest.Tar(good, link("dev", "", tar.TypeBlock)), "neither"},
		{"long name", githubtest.Tar(good, entry(tar.Header{Name: strings.Repeat("x", 5000)}, "")), "longer"},
		{"many", githubtest.Tar(many...), "entries"},
		{"huge", githubtest.Tar(entry(tar.Header{Name: "metadata.yaml"}, strings.Repeat("#", archive.MaxMetadata+1))), "longer"},
		{"empty", nil, "empty"},
		{"text", []byte("this is no archive, but long enough to be one if it wanted"), "no tar"},
		{"cut", githubtest.Tar(good, entry(tar.Header{Name: "x"}, strings.Repeat("abc", 999)))[:200], "truncated"},
	} {
		m, err := archive.Split(bytes.NewReader(x.data))
		if x.problem == "" && (err != nil || m.Architecture != "amd64" || !m.Created.Equal(made) || m.Properties["variant"] != "x") {
			t.Errorf("%s: %+v, %v", x.name, m, err)
		}
		if x.problem != "" && (err == nil || !strings.Contains(err.Error(), x.problem)) {
			t.Errorf("%s: %v, want %q", x.name, err, x.problem)
		}
	}
}

// A window that xz asks for is memory: a header alone must not take gigabytes.
func TestWindow(t *testing.T) {
	b := githubtest.Tar(metadata("metadata.yaml"))
	b[12+4] ^= 0xff // in the block header: its checksum does not match, whatever it says
	if _, err := archive.Split(bytes.NewReader(b)); err == nil {
		t.Error("a broken header was believed")
	}
}

func TestUnified(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	w := tar.NewWriter(z)
	body := githubtest.YAML("aarch64", made, "")
	for _, h := range []tar.Header{{Name: "metadata.yaml", Size: int64(len(body)), Typeflag: tar.TypeReg}, {Name: "rootfs/bin", Linkname: "/usr/bin", Typeflag: tar.TypeSymlink}} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := z.Flush(); err != nil { // and no end: no more is read than is needed
		t.Fatal(err)
	}
	if m, err := archive.Unified(&zipped); err != nil || m.Architecture != "arm64" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestMetadata(t *testing.T) {
	for _, x := range []struct{ text, problem string }{
		{"architecture: x86_64\ncreation_date: 1\n", ""},
		{"architecture: x86_64\ncreation_date: 1\nproperties: {release: 8, x: true}\n", ""},
		{"architecture: x86_64\n", "creation_date"},
		{"architecture: x86_64\ncreation_date: -5\n", "creation_date"},
		{"architecture: x86_64\ncreation_date: 9999999999999\n", "creation_date"},
		{"architecture: ../x\ncreation_date: 1\n", "architecture"},
		{"architecture: x86_64\ncreation_date: 1\nproperties: {os: \"a\\nb\"}\n", "property"},
		{"architecture: x86_64\ncreation_date: 1\nproperties: {os: [a]}\n", "property"},
		{"architecture: x86_64\ncreation_date: 1\nproperties: {'a/b': c}\n", "property"},
		{"architecture: x86_64\ncreation_date: 1\nproperties: {os: " + strings.Repeat("x", 2000) + "}\n", "property"},
		{"\t", "cannot be read"},
		{"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n" +
			"f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\nproperties: {x: [*f,*f,*f,*f,*f,*f,*f,*f,*f]}\n", "aliasing"},
	} {
		_, err := archive.ParseMetadata([]byte(x.text))
		if (err == nil) != (x.problem == "") || err != nil && !strings.Contains(err.Error(), x.problem) {
			t.Errorf("%.60q: %v, want %q", x.text, err, x.problem)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(githubtest.Tar(metadata("metadata.yaml")))
	f.Add([]byte("\x1f\x8b\x08"))
	f.Add([]byte("\xfd7zXZ\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := archive.Split(bytes.NewReader(b))
		if err == nil && (m.Architecture == "" || m.Created.IsZero()) {
			t.Fatalf("%+v", m)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(githubtest.YAML("x86_64", made, "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := archive.ParseMetadata(b)
		if err != nil {
			return
		}
		if m.Created.Year() < 1970 || m.Created.Year() > 9999 || len(m.Properties) > 64 {
			t.Fatalf("%+v", m)
		}
	})
}
