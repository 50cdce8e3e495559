package stream

// Paths of the documents below a repository's URL.
const (
	IndexPath  = "streams/v1/index.json"
	ImagesPath = "streams/v1/images.json"
)

// File types that clients know.
const (
	LXDMetadata   = "lxd.tar.xz"
	IncusMetadata = "incus.tar.xz"
	LXDUnified    = "lxd_combined.tar.gz"
	IncusUnified  = "incus_combined.tar.gz"
	SquashFS      = "squashfs"
	RootXZ        = "root.tar.xz"
	DiskKVM       = "disk-kvm.img"
)

// Index is index.json.
type Index struct {
	Index  map[string]Entry `json:"index"`
	Format string           `json:"format"`
}

// Entry of the index.
type Entry struct {
	DataType string   `json:"datatype"`
	Path     string   `json:"path"`
	Format   string   `json:"format"`
	Products []string `json:"products"` // sorted
}

// Images is images.json.
type Images struct {
	ContentID string             `json:"content_id"`
	DataType  string             `json:"datatype"`
	Format    string             `json:"format"`
	Products  map[string]Product `json:"products"`
}

// Product is one image for one architecture.
type Product struct {
	Aliases      string             `json:"aliases"` // separated by commas
	Arch         string             `json:"arch"`    // as Debian names it
	OS           string             `json:"os"`
	Release      string             `json:"release"`
	ReleaseTitle string             `json:"release_title"`
	Requirements map[string]string  `json:"requirements,omitempty"`
	Supported    bool               `json:"supported,omitempty"`
	SupportEOL   string             `json:"support_eol,omitempty"` // 2006-01-02
	Version      string             `json:"version,omitempty"`
	Variant      string             `json:"variant,omitempty"`
	Versions     map[string]Version `json:"versions"` // by serial; the greatest text is the newest
}

// Version of a product.
type Version struct {
	Label   string          `json:"label,omitempty"`
	PubName string          `json:"pubname,omitempty"`
	Items   map[string]Item `json:"items"`
}

// Item is one file. A client adds the bytes of the metadata and of a root, and knows the image by the SHA-256 of both: the
// combined hashes, which only metadata items have.
type Item struct {
	FileType         string `json:"ftype"`
	SHA256           string `json:"sha256"`
	Size             int64  `json:"size"`
	Path             string `json:"path"`
	Combined         string `json:"combined_sha256,omitempty"` // with RootXZ, for old clients
	CombinedRootXZ   string `json:"combined_rootxz_sha256,omitempty"`
	CombinedSquashFS string `json:"combined_squashfs_sha256,omitempty"`
	CombinedDiskKVM  string `json:"combined_disk-kvm-img_sha256,omitempty"`
}

// NewIndex points at images.json.
func NewIndex(products []string) Index {
	if products == nil {
		products = []string{}
	}
	return Index{Format: "index:1.0", Index: map[string]Entry{
		"images": {DataType: "image-downloads", Path: ImagesPath, Format: "products:1.0", Products: products},
	}}
}

// NewImages is an images.json without products yet.
func NewImages() Images {
	return Images{ContentID: "images", DataType: "image-downloads", Format: "products:1.0", Products: map[string]Product{}}
}
