package admin

import (
	"fmt"
	"time"

	"github.com/lanyard-project/lanyard/control/images/imagesapi"
)

func renderRepositories(s Streams, st imagesapi.Status) {
	t := table{head: []string{"REPOSITORY", "SOURCE", "IMAGES", "LEFT OUT", "ASKED", "STATE"}}
	now := time.Now()
	for _, r := range st.Repositories {
		newest := 0
		for _, i := range r.Images {
			if i.Newest {
				newest++
			}
		}
		state := styled(green, "ok")
		if r.Error != "" {
			state = styled(red, "failing: "+r.Error)
		}
		t.row(text(r.Name), text(r.Source), number(newest), number(wrong(r)), text(ago(now, r.Listed)), state)
	}
	t.print(s, 0, "")
	limit := ""
	if st.Limit != nil {
		limit = fmt.Sprintf("; GitHub leaves %s of %s requests until %s", thousands(int64(st.Limit.Remaining)), thousands(int64(st.Limit.Limit)), st.Limit.Reset.Local().Format(time.TimeOnly))
	}
	fmt.Fprintf(s.Out, "\ncache: %s of %s in %s%s\n", size(uint64(st.CacheBytes)), size(uint64(st.CacheMax)), count(st.CacheFiles, "file", "files"), limit)
}

func renderImages(s Streams, r imagesapi.Repository, all bool) {
	t := table{head: []string{"IMAGE", "ARCH", "VERSION", "FINGERPRINT", "SIZE", "CREATED", "CACHED"}}
	for _, i := range r.Images {
		if !i.Newest && !all {
			continue
		}
		cached := styled(dim, "no")
		if i.Cached {
			cached = styled(green, "yes")
		}
		t.row(text(i.Name), text(i.Arch), text(i.Version), text(i.Fingerprint[:min(12, len(i.Fingerprint))]), cell{text: size(uint64(i.Size)), right: true}, text(i.Created.Format(time.DateOnly)), cached)
	}
	t.print(s, 0, "")
	renderTrouble(s, r)
	if n := wrong(r); n > 0 {
		fmt.Fprintf(s.Out, "\n%s left out; why: lanyard images verify %s\n", count(n, "is", "are"), printable(r.Name))
	}
}

func renderTrouble(s Streams, r imagesapi.Repository) {
	if r.Error != "" {
		fmt.Fprintf(s.Out, "\n%s since %s: %s\n  what was known %s is served\n", s.paint(red, "its source fails"), ago(time.Now(), r.Failing), printable(r.Error), ago(time.Now(), r.Listed))
	}
	if r.Cut {
		fmt.Fprintln(s.Out, "\nthe repository has more releases than are looked at")
	}
}

func renderVerify(s Streams, r imagesapi.Repository) {
	t := table{head: []string{"RELEASE", "ARCH", "WHY IT IS LEFT OUT"}}
	old := 0
	for _, k := range r.Skipped {
		if k.Old {
			old++
			continue
		}
		style := red
		if k.Passing {
			style = yellow
		}
		t.row(text(k.Tag), text(k.Arch), styled(style, k.Reason))
	}
	fmt.Fprintf(s.Out, "%s offered, %s left out, %s than those that are offered\n", count(len(r.Images), "version is", "versions are"), thousands(int64(wrong(r))), count(old, "is older", "are older"))
	if len(t.rows) > 0 {
		t.print(s, 200, "lanyard images verify --json")
	}
	renderTrouble(s, r)
}
