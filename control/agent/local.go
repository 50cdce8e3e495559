package agent

import (
	"slices"

	"github.com/lanyard-project/lanyard/webspace"
)

// Local gives the webspaces of this node as LXD told of them last, or as they were when the daemon ended. It asks nobody.
// The caller must not change what they refer to.
func (a *Agent) Local() []webspace.Instance {
	a.mu.Lock()
	list, self := a.known.local, a.known.self()
	a.mu.Unlock()
	list = slices.Clone(list)
	return slices.DeleteFunc(list, func(i webspace.Instance) bool { return i.Node != self })
}
