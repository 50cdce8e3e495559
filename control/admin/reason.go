package admin

import (
	"github.com/lanyard-project/lanyard/dataplane"
)

// meaning of a reason for dropping, in a sentence; "" if it is not known here (a newer daemon's).
func meaning(name string) string {
	var r dataplane.Reason
	if r.UnmarshalText([]byte(name)) != nil {
		return ""
	}
	return r.Doc()
}

func reasonNames() []string {
	var names []string
	for _, r := range dataplane.Reasons() {
		names = append(names, r.String())
	}
	return names
}

// must is for what only a mistake in this package can make fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
