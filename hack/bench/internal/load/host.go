package load

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/safchain/ethtool"
)

// Sysctl writes kernel settings of the cell's namespace, named with slashes below /proc/sys.
func Sysctl(a map[string]string) (None, error) {
	for k, v := range a {
		if err := os.WriteFile(filepath.Join("/proc/sys", k), []byte(v), 0); err != nil {
			return None{}, fmt.Errorf("set %s to %s: %w", k, v, err)
		}
	}
	return None{}, nil
}

// NFT loads a rule set into the cell's namespace.
func NFT(rules string) (None, error) {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return None{}, fmt.Errorf("nft: %w: %s", err, out.String())
	}
	return None{}, nil
}

// FeatureSet turns offloads of one device on or off, by their kernel names (ethtool -k). Those that this kernel does
// not know are left out.
type FeatureSet struct {
	Device   string          `json:"device"`
	Features map[string]bool `json:"features"`
}

// Features applies a FeatureSet.
func Features(a FeatureSet) (None, error) {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return None{}, fmt.Errorf("ethtool: %w", err)
	}
	defer e.Close()
	names, err := e.FeatureNames(a.Device)
	if err != nil {
		return None{}, fmt.Errorf("offloads of %s: %w", a.Device, err)
	}
	maps.DeleteFunc(a.Features, func(k string, _ bool) bool { _, ok := names[k]; return !ok })
	if err := e.Change(a.Device, a.Features); err != nil {
		return None{}, fmt.Errorf("offloads of %s: %w", a.Device, err)
	}
	now, err := e.Features(a.Device)
	if err != nil {
		return None{}, err
	}
	for k, want := range a.Features {
		if got := now[k]; got != want {
			return None{}, fmt.Errorf("offload %s of %s stayed %v", k, a.Device, got)
		}
	}
	return None{}, nil
}
