package dataplane

import (
	"context"
	"time"
)

// Hook says which program saw a frame.
type Hook uint8

// Sample is one frame that was refused, cut to its headers.
type Sample struct {
	Time      time.Time `json:"time"`
	Owner     string    `json:"owner,omitempty"`
	Reason    Reason    `json:"reason"`
	Hook      Hook      `json:"hook"`
	Interface string    `json:"interface,omitempty"`
	Ifindex   int       `json:"ifindex"`
	Length    int       `json:"length"` // of the whole frame, bytes
	// Data is the frame from its Ethernet header on, cut to the sample's length. It is hostile.
	Data []byte `json:"data"`
}

// Samples calls f for every sampled drop until ctx ends; f must not keep Data. Several readers may run at once, each
// sees all samples. A slow f loses samples, and delays nobody.
func (d *Dataplane) Samples(ctx context.Context, f func(Sample)) error { return errUnfinished }
