package simplestreams

import (
	"fmt"
	"regexp"
	"strings"
)

// Repo names a repository of images: the two first parts of every URL. It is lower case: GitHub does not tell cases apart.
type Repo struct{ Owner, Name string }

func (r Repo) String() string { return r.Owner + "/" + r.Name }

// GitHub's own rules: an owner has at most 39 letters, digits and dashes, a repository 100 of those, dots and underscores.
var (
	ownerPattern = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})$`)
	namePattern  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
)

// NewRepo checks the two parts of a repository's name.
func NewRepo(owner, name string) (Repo, error) {
	if !ownerPattern.MatchString(owner) || !namePattern.MatchString(name) || strings.Trim(name, ".") == "" {
		return Repo{}, &Problem{What: "this is no repository", Cause: fmt.Sprintf("%.150q is no OWNER/NAME", owner+"/"+name),
			Next: "write it as on GitHub, such as netsoc/lxd-images", Kind: ErrInvalid}
	}
	return Repo{strings.ToLower(owner), strings.ToLower(name)}, nil
}

// ParseRepo reads "owner/name".
func ParseRepo(s string) (Repo, error) {
	owner, name, _ := strings.Cut(s, "/")
	return NewRepo(owner, name)
}

// AllowList says which repositories of GitHub are served.
type AllowList struct {
	all    bool
	owners map[string]bool
	repos  map[Repo]bool
}

// NewAllowList reads patterns: owner/name, owner/* for all of an owner, * for everything. None allows nothing.
func NewAllowList(patterns []string) (*AllowList, error) {
	a := &AllowList{owners: map[string]bool{}, repos: map[Repo]bool{}}
	for _, p := range patterns {
		owner, wild := strings.CutSuffix(p, "/*")
		switch {
		case p == "*":
			a.all = true
		case wild && ownerPattern.MatchString(owner):
			a.owners[strings.ToLower(owner)] = true
		default:
			r, err := ParseRepo(p)
			if err != nil {
				return nil, fmt.Errorf("%q is neither owner/name, nor owner/*, nor *: %w", p, ErrInvalid)
			}
			a.repos[r] = true
		}
	}
	return a, nil
}

// Allows says whether a repository is served.
func (a *AllowList) Allows(r Repo) bool { return a.all || a.owners[r.Owner] || a.repos[r] }

// Named are the repositories that are listed by their full names.
func (a *AllowList) Named() []Repo {
	var out []Repo
	for r := range a.repos {
		out = append(out, r)
	}
	return out
}
