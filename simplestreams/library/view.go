package library

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/lanyard-project/lanyard/simplestreams/catalog"
)

// View is a catalogue with its documents ready to be sent. It never changes.
type View struct {
	Catalog *catalog.Catalog
	Index   Document
	Images  Document
	retry   bool // something failed that may go better soon
}

// Document is a JSON text.
type Document struct {
	Plain  []byte
	Zipped []byte // gzip
	ETag   string
}

func newView(c *catalog.Catalog) *View {
	index, images := c.Documents()
	v := &View{Catalog: c, Index: document(index), Images: document(images)}
	for _, s := range c.Skipped {
		v.retry = v.retry || s.Passing
	}
	return v
}

func document(value any) Document {
	plain, _ := json.Marshal(value) // texts, numbers and maps of them cannot fail
	sum := sha256.Sum256(plain)
	d := Document{Plain: plain, ETag: `"` + hex.EncodeToString(sum[:16]) + `"`}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(plain)
	_ = z.Close()
	d.Zipped = b.Bytes()
	return d
}
