package report

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed method.md
var method string

// Index writes README.md of the folder of all runs, and of each run, from what lies there.
func Index(root string) error {
	found, err := filepath.Glob(filepath.Join(root, "*", "results.json"))
	if err != nil {
		return err
	}
	slices.Sort(found)
	slices.Reverse(found) // newest first: the folders begin with the date
	var list strings.Builder
	newest := ""
	for _, f := range found {
		dir := filepath.Dir(f)
		r, notes, err := read(dir)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte(page(r, notes)), 0o644); err != nil {
			return err
		}
		name := filepath.Base(dir)
		fmt.Fprintf(&list, "- [%s](%s/README.md): %s, %d rounds%s, commit %s\n", name, name, r.Machine, r.Rounds, quick(r), r.Commit)
		if newest == "" && !r.Quick {
			newest = fmt.Sprintf("## Newest full run: %s\n\n%s\n![ratios](%s/ratios.png)\n\nAll figures: [%s](%s/README.md)\n",
				name, head(r)+"\n"+goals(r, notes), name, name, name)
		}
	}
	text := "# Benchmarks\n\n" + method + "\n" + newest + "\n## Runs\n\n" + list.String()
	return os.WriteFile(filepath.Join(root, "README.md"), []byte(text), 0o644)
}

func quick(r *Report) string {
	if r.Quick {
		return " (quick: a look, not a result)"
	}
	return ""
}

func head(r *Report) string {
	return fmt.Sprintf("%s, %s; `%s` (%d rounds%s, %.0f s), commit %s; load average before: %.2f.\n",
		r.Date.Format("2006-01-02 15:04 UTC"), r.Machine, r.Command, r.Rounds, quick(r), r.Took, r.Commit, r.Machine.Load)
}

func page(r *Report, notes map[string]string) string {
	return "# Run of " + r.Date.Format("2006-01-02 15:04") + " UTC\n\n" + head(r) +
		"How it is measured: [../README.md](../README.md). Every sample: [results.json](results.json).\n\n" +
		"## Goals\n\n" + goals(r, notes) +
		"\n![ratios](ratios.png)\n" +
		"\n## CPU time per operation, microseconds\n\nMedian of the rounds (least to most).\n\n" + costs(r) +
		"\n## Tables\n\n" + figures(r) + "\n" + memory(r)
}
