package wake

import (
	"errors"
	"net/netip"
)

// blind looks at nothing: every slower way is taken.
type blind struct{}

var errBlind = errors.New("containers cannot be looked at here")

func (blind) Find(string) (Container, error)                 { return Container{}, errBlind }
func (blind) Sockets(Container, netip.Addr) (Sockets, error) { return Sockets{}, errBlind }
func (blind) Thaw(string) error                              { return errBlind }
