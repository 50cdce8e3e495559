package check

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

const (
	idsEach   = 65536         // ids that LXD gives to an instance with a map of its own, unless told otherwise
	idsLXD    = 1_000_000_000 // what it takes when the machine says nothing
	fewSpaces = 1000          // webspaces that a machine should have ids for
)

// gatherIDs reads how many ids of users and groups root may give to containers: the smaller of both (subuid(5), subgid(5)).
func gatherIDs(f *Facts, files ...string) error {
	f.IDs = 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if n := idsOf(b); f.IDs == 0 || n < f.IDs {
			f.IDs = n
		}
	}
	return nil
}

// idsOf is the largest range of root's: LXD lays out the maps of instances in one.
func idsOf(file []byte) int64 {
	most, said := int64(0), false
	for lines := bufio.NewScanner(bytes.NewReader(file)); lines.Scan(); {
		fields := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(fields) != 3 || fields[0] != "root" && fields[0] != "0" {
			continue
		}
		if n, err := strconv.ParseInt(fields[2], 10, 64); err == nil {
			most, said = max(most, n), true
		}
	}
	if !said {
		return idsLXD
	}
	return most
}

// ids says for how many webspaces the machine's ids are enough: each has its own, so that what breaks out of one is
// nobody in another.
func (l *list) ids(f Facts, want Want) {
	if f.IDs == 0 || want.IDsEach < 0 || !strings.HasPrefix(want.LXD, "/") {
		return // not read, not isolated, or the LXD of another machine
	}
	each := want.IDsEach
	if each == 0 {
		each = idsEach
	}
	// The first of them are those of instances without a map of their own.
	spaces := max(0, (f.IDs-idsEach)/each)
	found := fmt.Sprintf("enough for %d webspaces with %d each", spaces, each)
	if spaces >= fewSpaces {
		l.ok("user ids", found)
		return
	}
	l.add(Warning, "user ids", found, "each webspace has ids of its own out of root's range in /etc/subuid and /etc/subgid; when they are used up, LXD creates no more",
		"echo root:1000000:1000000000 | tee /etc/subuid /etc/subgid; systemctl restart lxd (or set security.idmap.size in webspaces.instance_config)")
}
