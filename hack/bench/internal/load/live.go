package load

import (
	"fmt"
	"net"
	"time"

	"github.com/lanyard-project/lanyard/hack/live"
)

// Live is a stream of frames as from a network card (package live).
type Live struct {
	Name   string      `json:"name"`
	Device string      `json:"device"` // whose other end receives them
	Frame  []byte      `json:"frame"`
	Vary   []live.Vary `json:"vary"`
}

func (s *Set) liveLoad(a Live) (None, error) {
	dev, err := net.InterfaceByName(a.Device)
	if err != nil {
		return None{}, fmt.Errorf("live: %w", err)
	}
	l, err := live.New(dev.Index, a.Frame, a.Vary...)
	if err != nil {
		return None{}, err
	}
	if old := s.lives[a.Name]; old != nil {
		_ = old.Close()
	}
	s.lives[a.Name] = l
	return None{}, nil
}

func (s *Set) liveRun(a Work) (Done, error) {
	l, ok := s.lives[a.Name]
	if !ok {
		return Done{}, fmt.Errorf("no frames %q", a.Name)
	}
	start := time.Now()
	err := l.Run(a.N)
	return Done{Wall: time.Since(start)}, err
}
