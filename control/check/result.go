package check

// Status is the verdict of one check.
type Status string

const (
	OK      Status = "ok"
	Warning Status = "warning" // it works, but something is slower, riskier or surprising
	Failure Status = "failure" // lanyardd would not work here
	Unknown Status = "unknown" // could not be found out, mostly for lack of privilege
)

// Result is one check. Cause and Do are empty when the status is OK.
type Result struct {
	Group  string `json:"group"` // kernel, privileges, network, ports, lxd
	Name   string `json:"name"`
	Status Status `json:"status"`
	Found  string `json:"found"`           // what is there, in a few words
	Cause  string `json:"cause,omitempty"` // why that matters
	Do     string `json:"do,omitempty"`    // a command or a setting
}

// Report is the outcome of all checks.
type Report struct {
	Results  []Result `json:"results"`
	OK       int      `json:"ok"`
	Warnings int      `json:"warnings"`
	Failures int      `json:"failures"`
	Unknown  int      `json:"unknown"`
}

// NewReport counts results.
func NewReport(results []Result) Report {
	r := Report{Results: results}
	for _, x := range results {
		switch x.Status {
		case OK:
			r.OK++
		case Warning:
			r.Warnings++
		case Failure:
			r.Failures++
		default:
			r.Unknown++
		}
	}
	return r
}

// Good says whether lanyardd can be expected to work. With strict, warnings count too.
func (r Report) Good(strict bool) bool {
	return r.Failures == 0 && r.Unknown == 0 && (!strict || r.Warnings == 0)
}

// list collects the results of one group.
type list struct {
	group   string
	results []Result
}

func (l *list) ok(name, found string) {
	l.results = append(l.results, Result{Group: l.group, Name: name, Status: OK, Found: found})
}

func (l *list) add(s Status, name, found, cause, do string) {
	l.results = append(l.results, Result{Group: l.group, Name: name, Status: s, Found: found, Cause: cause, Do: do})
}
