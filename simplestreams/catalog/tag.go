package catalog

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/lanyard-project/lanyard/simplestreams/version"
)

// A name becomes part of URLs, and an alias: the comma would make two of it.
var imageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}(/[A-Za-z0-9][A-Za-z0-9._+-]{0,62}){0,5}$`)

// parseTag reads IMAGE/vVERSION.
func parseTag(tag string) (name string, v version.Version, err error) {
	k := strings.LastIndex(tag, "/v")
	if k < 0 {
		return "", v, fmt.Errorf("its tag is not IMAGE/vVERSION")
	}
	name = tag[:k]
	if !imageName.MatchString(name) {
		return "", v, fmt.Errorf("%.100q is no name for an image: letters, digits, dots, dashes, underscores and slashes", name)
	}
	if v, err = version.Parse(tag[k+2:]); err != nil {
		return name, v, fmt.Errorf("%.100q is no version: %w", tag[k+2:], err)
	}
	return name, v, nil
}
