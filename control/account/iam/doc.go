// Package iam believes the seed system's directory of users: an HTTP API that checks tokens and knows members.
//
// The calls: GET {url}/users/self/token says whether a token is good, GET {url}/users/self whose it is; GET
// {url}/users/{name} and {url}/users/id:{uid} find others, with the installation's own token; POST and DELETE
// {url}/users/{name}/login log in and out. Nothing is read out of a token here: the directory says who it is.
//
// Answers count for Options.Fresh, so that a page full of requests is two calls and not hundreds. While the directory does
// not answer at all they count for Options.Stale: its outage is not one of every webspace. A token that is revoked meanwhile
// works until then.
package iam
