// Package report is what the guest kernel's only process tells the test outside, one JSON object per console line.
package report

// Mark begins each such line; kernel messages may precede it on the same line.
const Mark = "@lanyard "

// Line is one finding. Exactly one of Kernel, Program, Test and Done says what it is about.
type Line struct {
	Kernel  string `json:"kernel,omitempty"`  // release of the running kernel
	Program string `json:"program,omitempty"` // object/program that was given to the verifier
	Type    string `json:"type,omitempty"`    // of the program
	Insns   uint32 `json:"insns,omitempty"`   // instructions that the verifier walked
	Xlated  int    `json:"xlated,omitempty"`  // size after verification, bytes
	Test    string `json:"test,omitempty"`    // test binary that was run
	Done    bool   `json:"done,omitempty"`    // last line: everything was tried
	Error   string `json:"error,omitempty"`   // empty: accepted, or passed
}
