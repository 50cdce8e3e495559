package verifier

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/lanyard-project/lanyard/hack/verifier/report"
)

// Boot runs the kernel with the initramfs in qemu until the guest powers off, and returns what it reported. disks are files that the
// guest has as namespaces 1, 2 and so on of an NVMe disk; log receives every line of the console. The context bounds it; an emulated boot takes
// about ten seconds.
func Boot(ctx context.Context, k Kernel, files Initramfs, disks []string, log func(string)) ([]report.Line, error) {
	dir, err := os.MkdirTemp("", "lanyard-verifier-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	initrd := filepath.Join(dir, "initrd")
	if err := os.WriteFile(initrd, files.Archive(), 0o600); err != nil {
		return nil, err
	}

	// No network, no graphics; panic=-1 with -no-reboot ends qemu at a panic instead of hanging.
	args := []string{
		"-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "1536",
		"-nodefaults", "-no-user-config", "-no-reboot", "-nographic", "-serial", "stdio",
		"-kernel", k.Image, "-initrd", initrd,
		"-append", "console=ttyS0 quiet panic=-1 rdinit=/init mitigations=off random.trust_cpu=on",
	}
	args = append(args, "-device", "nvme,serial=1")
	for i, disk := range disks {
		args = append(args, "-drive", fmt.Sprintf("file=%s,if=none,format=raw,id=disk%d", disk, i), "-device", fmt.Sprintf("nvme-ns,nsid=%d,drive=disk%d", i+1, i))
	}
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	var complaints bytes.Buffer
	qemu.Stderr = &complaints
	console, err := qemu.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := qemu.Start(); err != nil {
		return nil, fmt.Errorf("qemu does not start: %w: probably not installed; run `apt-get install qemu-system-x86`", err)
	}

	var lines []report.Line
	var bad error
	scan := bufio.NewScanner(console)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		text := strings.Map(printable, scan.Text()) // the firmware clears the screen
		log(text)
		_, data, ok := strings.Cut(text, report.Mark)
		if !ok {
			continue
		}
		var line report.Line
		if err := json.Unmarshal([]byte(data), &line); err != nil {
			bad = errors.Join(bad, fmt.Errorf("console line %q: %w", text, err))
			continue
		}
		lines = append(lines, line)
	}
	err = errors.Join(bad, scan.Err(), qemu.Wait())
	if ctx.Err() != nil {
		err = errors.Join(fmt.Errorf("the guest did not finish in time: %w", ctx.Err()), err)
	}
	if err != nil {
		return lines, fmt.Errorf("qemu with %s: %w: %s", k.Name, err, complaints.String())
	}
	return lines, nil
}

func printable(r rune) rune {
	if r < ' ' && r != '\t' || r == 0x7f {
		return -1
	}
	return r
}
