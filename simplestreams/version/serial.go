package version

import (
	"strings"
	"time"
)

// The order of these bytes is what makes serials comparable: end < more < any byte of an identifier < release < text.
const (
	preEnd  = '+' // after the last identifier of a prerelease
	preMore = ',' // between two
	pre     = '-' // after the numbers of a prerelease
	release = '_' // after the numbers of a release
	text    = '~' // before an identifier that is not a number: numbers come first
)

// Serial names a version of an image made at a time: of two of the same day the greater text is the greater version.
// A serial holds no slash, no quote, no space.
func Serial(made time.Time, v Version) string {
	var b strings.Builder
	b.WriteString(made.UTC().Format("20060102"))
	b.WriteByte('_')
	for i, n := range v.Numbers {
		if i > 0 {
			b.WriteByte('.')
		}
		writeNumber(&b, n)
	}
	if len(v.Pre) == 0 {
		b.WriteByte(release)
	} else {
		b.WriteByte(pre)
		for i, id := range v.Pre {
			if i > 0 {
				b.WriteByte(preMore)
			}
			if numeric(id) {
				writeNumber(&b, id)
			} else {
				b.WriteByte(text)
				b.WriteString(id)
			}
		}
		b.WriteByte(preEnd)
	}
	b.WriteString("v" + v.String())
	return b.String()
}

const width = 4

// writeNumber pads to four digits; a longer number gets a letter in front that grows with its length, and letters are
// greater than digits.
func writeNumber(b *strings.Builder, n string) {
	if len(n) <= width {
		b.WriteString("0000"[len(n):] + n)
		return
	}
	for extra := len(n) - width; extra > 0; extra -= 25 {
		b.WriteByte(byte('a' + min(extra, 26) - 1))
	}
	b.WriteString(n)
}
