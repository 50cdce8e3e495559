package dataplane

import "fmt"

//go:generate go run ./internal/genreasons -in ../bpf/reasons.h -go reasons_gen.go -doc ../docs/reference/drop-reasons.md

// Reason says why a frame was dropped. Its values are those of enum drop_reason in bpf/reasons.h.
type Reason uint32

// String is the name that counters, samples and the documentation use.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason_%d", uint32(r))
}

// Doc is the reason in a sentence.
func (r Reason) Doc() string {
	if int(r) < len(reasonDocs) {
		return reasonDocs[r]
	}
	return "A reason that this build does not know: the programs are newer."
}

// MarshalText is for JSON.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (r *Reason) UnmarshalText(b []byte) error {
	for i, name := range reasonNames {
		if name == string(b) {
			*r = Reason(i)
			return nil
		}
	}
	if _, err := fmt.Sscanf(string(b), "reason_%d", (*uint32)(r)); err != nil {
		return fmt.Errorf("no drop reason has the name %q", b)
	}
	return nil
}

// Reasons lists all that this build knows.
func Reasons() []Reason {
	all := make([]Reason, 0, len(reasonNames)-1)
	for i := 1; i < len(reasonNames); i++ {
		all = append(all, Reason(i))
	}
	return all
}
