package admin

import (
	"fmt"
	"time"

	"github.com/lanyard-project/lanyard/control/cli"
	"github.com/lanyard-project/lanyard/control/images/imagesapi"
)

func renderRepositories(s cli.Streams, st imagesapi.Status) {
	t := cli.Table{Indent: "  ", Head: []string{"REPOSITORY", "SOURCE", "IMAGES", "LEFT OUT", "ASKED", "STATE"}}
	now := time.Now()
	for _, r := range st.Repositories {
		newest := 0
		for _, i := range r.Images {
			if i.Newest {
				newest++
			}
		}
		state := cli.Styled(cli.Green, "ok")
		if r.Error != "" {
			state = cli.Styled(cli.Red, "failing: "+r.Error)
		}
		t.Row(cli.Text(r.Name), cli.Text(r.Source), cli.Integer(newest), cli.Integer(wrong(r)), cli.Text(cli.Ago(now, r.Listed)), state)
	}
	t.Print(s)
	limit := ""
	if st.Limit != nil {
		limit = fmt.Sprintf("; GitHub leaves %s of %s requests until %s", cli.Thousands(int64(st.Limit.Remaining)), cli.Thousands(int64(st.Limit.Limit)), st.Limit.Reset.Local().Format(time.TimeOnly))
	}
	fmt.Fprintf(s.Out, "\ncache: %s of %s in %s%s\n", cli.Size(int64(uint64(st.CacheBytes))), cli.Size(int64(uint64(st.CacheMax))), cli.Count(st.CacheFiles, "file", "files"), limit)
}

func renderImages(s cli.Streams, r imagesapi.Repository, all bool) {
	t := cli.Table{Indent: "  ", Head: []string{"IMAGE", "ARCH", "VERSION", "FINGERPRINT", "SIZE", "CREATED", "CACHED"}}
	for _, i := range r.Images {
		if !i.Newest && !all {
			continue
		}
		cached := cli.Styled(cli.Dim, "no")
		if i.Cached {
			cached = cli.Styled(cli.Green, "yes")
		}
		t.Row(cli.Text(i.Name), cli.Text(i.Arch), cli.Text(i.Version), cli.Text(i.Fingerprint[:min(12, len(i.Fingerprint))]), cli.Number(cli.Size(i.Size)), cli.Text(i.Created.Format(time.DateOnly)), cached)
	}
	t.Print(s)
	renderTrouble(s, r)
	if n := wrong(r); n > 0 {
		fmt.Fprintf(s.Out, "\n%s left out; why: lanyard images verify %s\n", cli.Count(n, "is", "are"), cli.Printable(r.Name))
	}
}

func renderTrouble(s cli.Streams, r imagesapi.Repository) {
	if r.Error != "" {
		fmt.Fprintf(s.Out, "\n%s since %s: %s\n  what was known %s is served\n", s.Paint(cli.Red, "its source fails"), cli.Ago(time.Now(), r.Failing), cli.Printable(r.Error), cli.Ago(time.Now(), r.Listed))
	}
	if r.Cut {
		fmt.Fprintln(s.Out, "\nthe repository has more releases than are looked at")
	}
}

func renderVerify(s cli.Streams, r imagesapi.Repository) {
	t := cli.Table{Indent: "  ", Head: []string{"RELEASE", "ARCH", "WHY IT IS LEFT OUT"}}
	old := 0
	for _, k := range r.Skipped {
		if k.Old {
			old++
			continue
		}
		style := cli.Red
		if k.Passing {
			style = cli.Yellow
		}
		t.Row(cli.Text(k.Tag), cli.Text(k.Arch), cli.Styled(style, k.Reason))
	}
	fmt.Fprintf(s.Out, "%s offered, %s left out, %s than those that are offered\n", cli.Count(len(r.Images), "version is", "versions are"), cli.Thousands(int64(wrong(r))), cli.Count(old, "is older", "are older"))
	if len(t.Rows) > 0 {
		t.PrintSome(s, 200, "lanyard images verify --json")
	}
	renderTrouble(s, r)
}
