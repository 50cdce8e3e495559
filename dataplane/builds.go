package dataplane

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// mapBuilds remembers where each pinned program came from: name -> "<program id> <fingerprint> <version>", as text, so that
// bpftool shows it. The kernel's own tag is no help: it leaves constants and maps out, and follows the linking of
// subprograms, which happens only when a program is loaded.
const mapBuilds = "builds"

type (
	buildName   [16]byte
	buildOrigin [128]byte
)

func buildsSpec() *ebpf.MapSpec {
	return &ebpf.MapSpec{
		Name: mapBuilds, Type: ebpf.Hash, KeySize: 16, ValueSize: 128, MaxEntries: 16,
		Key: chars(16), Value: chars(128),
	}
}

func chars(n uint32) btf.Type {
	return &btf.Array{
		Index: &btf.Int{Name: "unsigned int", Size: 4}, Nelems: n,
		Type: &btf.Int{Name: "char", Size: 1, Encoding: btf.Char},
	}
}

// fingerprint is the same for two objects when their programs, once loaded, would do the same to the same maps.
func fingerprint(spec *ebpf.CollectionSpec, bound map[string]*ebpf.Map) (string, error) {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(spec.Programs)) {
		p := spec.Programs[name]
		fmt.Fprintf(h, "program %s %v %v %d\n", name, p.Type, p.AttachType, p.Flags)
		for i := range p.Instructions {
			ins := &p.Instructions[i]
			binary.Write(h, binary.LittleEndian, []int64{int64(ins.OpCode), int64(ins.Dst), int64(ins.Src), int64(ins.Offset), ins.Constant})
			fmt.Fprintf(h, "%s %s\n", ins.Reference(), ins.Symbol())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Variables)) {
		fmt.Fprintf(h, "variable %s %x\n", name, spec.Variables[name].Value)
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Maps)) {
		m, ok := bound[name]
		if !ok {
			continue
		}
		info, err := m.Info()
		if err != nil {
			return "", fmt.Errorf("ask about map %s: %w", name, err)
		}
		id, _ := info.ID()
		fmt.Fprintf(h, "map %s %d\n", name, id)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// recorded is the fingerprint of a pinned program, or "" when the record is of another one.
func recorded(m *ebpf.Map, name string, p *ebpf.Program) string {
	print, _ := readBuild(m, name, programID(p))
	return print
}

func readBuild(m *ebpf.Map, name string, id ebpf.ProgramID) (print, version string) {
	var key buildName
	var v buildOrigin
	copy(key[:], name)
	if m == nil || m.Lookup(key, &v) != nil {
		return "", ""
	}
	text, _, _ := bytes.Cut(v[:], []byte{0})
	words := strings.SplitN(string(text), " ", 3)
	if len(words) != 3 || words[0] != strconv.FormatUint(uint64(id), 10) {
		return "", ""
	}
	return words[1], words[2]
}

// record notes where a program came from, after it was pinned.
func record(m *ebpf.Map, name, print, version string, p *ebpf.Program) error {
	var key buildName
	var v buildOrigin
	copy(key[:], name)
	copy(v[:len(v)-1], fmt.Sprintf("%d %s %s", programID(p), print, version))
	if err := m.Put(key, v); err != nil {
		return fmt.Errorf("write map %s: %w", mapBuilds, err)
	}
	return nil
}
