package account

import (
	"fmt"
	"regexp"
)

// MaxUID is the largest number of a member: what an int32 holds, as the seed's clients decode it.
const MaxUID = 1<<31 - 1

// A user name is the first label of the webspace's name, and a part of paths of the API: a DNS label in lower case.
var nameShape = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckName says whether a name can be a user name. "self" is taken: it means the caller.
func CheckName(name string) error {
	if name == "self" || !nameShape.MatchString(name) {
		return &Error{What: fmt.Sprintf("%.70q cannot be a user name", name), Kind: ErrInvalid,
			Cause: "it must be up to 63 lower-case letters, digits and dashes, as in a host name, and not self",
			Next:  "choose another"}
	}
	return nil
}

// CheckUID says whether a number can be a member's.
func CheckUID(uid int) error {
	if uid < 1 || uid > MaxUID {
		return &Error{What: fmt.Sprintf("%d cannot be a member's number", uid), Kind: ErrInvalid,
			Cause: fmt.Sprintf("it must be between 1 and %d", MaxUID), Next: "choose another"}
	}
	return nil
}

// A directory that is not ours may have had other ideas of a name: upper case and underscores harm nobody.
var foreignShape = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$`)

// CheckForeignName says whether a name from another directory can be used.
func CheckForeignName(name string) error {
	if name == "self" || !foreignShape.MatchString(name) {
		return &Error{What: fmt.Sprintf("cannot use the user name %.70q", name), Kind: ErrInvalid,
			Cause: "it must be up to 63 letters, digits, dashes and underscores, and not self",
			Next:  "change it in the directory of users"}
	}
	return nil
}
