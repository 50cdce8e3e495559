package bpf_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/lanyard-project/lanyard/bpf"
)

// TestBudget holds every program to the committed size, budget.txt: the verifier's work decides whether older kernels
// take it, the translated size what every packet drags through the instruction cache. Whoever needs more writes a
// larger number there, and why in the commit.
func TestBudget(t *testing.T) {
	budget := readBudget(t)
	for object, load := range map[string]func() (*ebpf.CollectionSpec, error){"Tc": bpf.LoadTc, "Xdp": bpf.LoadXdp, "Sockets": bpf.LoadSockets} {
		spec, err := load()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range spec.Maps {
			m.Pinning = ebpf.PinNone
		}
		coll, err := ebpf.NewCollection(spec)
		if err != nil {
			t.Fatalf("object %s: %v: this needs CAP_BPF; run the tests as root", object, err)
		}
		defer coll.Close()
		for name, p := range coll.Programs {
			info, err := p.Info()
			if err != nil {
				t.Fatal(err)
			}
			verified, ok := info.VerifiedInstructions()
			size, err := info.TranslatedSize()
			if err != nil || !ok {
				t.Fatalf("program %s: no sizes: %v", name, err)
			}
			t.Logf("%s: %d instructions verified, %d bytes", name, verified, size)
			limit, ok := budget[name]
			if !ok {
				t.Errorf("program %s has no line in budget.txt; add %q", name, fmt.Sprintf("%s %d %d", name, verified, size))
				continue
			}
			delete(budget, name)
			if verified > limit.verified || size > limit.bytes {
				t.Errorf("program %s: %d instructions verified, %d bytes; its budget is %d and %d", name, verified, size, limit.verified, limit.bytes)
			}
		}
	}
	for name := range budget {
		t.Errorf("budget.txt has a line for %s, which is no program", name)
	}
}

type limits struct {
	verified uint32
	bytes    int
}

// readBudget reads lines of: program, instructions that the verifier may walk, bytes after translation.
func readBudget(t *testing.T) map[string]limits {
	t.Helper()
	f, err := os.Open("budget.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	budget := map[string]limits{}
	for scan := bufio.NewScanner(f); scan.Scan(); {
		line, _, _ := strings.Cut(scan.Text(), "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		var name string
		var l limits
		if _, err := fmt.Sscan(line, &name, &l.verified, &l.bytes); err != nil {
			t.Fatalf("budget.txt, line %q: %v", line, err)
		}
		budget[name] = l
	}
	return budget
}
