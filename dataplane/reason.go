package dataplane

import "fmt"

// Reason says why a frame was dropped.
type Reason uint32

// String is the name that counters, samples and the documentation use.
func (r Reason) String() string { return fmt.Sprintf("reason_%d", uint32(r)) }
