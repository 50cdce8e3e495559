// Package account says who a caller is, and who a member is.
//
// Provider is the whole interface. Its three implementations are packages below this one: local (accounts of this
// installation, in a file), iam (the HTTP API of an existing user directory) and oidc (an OpenID Connect provider).
// control/account/setup makes the one that the configuration names.
//
// A token is believed only after its provider has verified it: nothing is ever read out of an unverified one, not even
// for a log line. Errors are *Error, with a kind for errors.Is; neither tokens nor passwords are ever part of one.
package account
