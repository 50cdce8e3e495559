// Package oidc believes tokens of an OpenID Connect provider.
//
// A token is a signed JWT: an ID token, or an access token in JWT form, that was made for one of the configured audiences. The
// provider's keys are found by discovery, and fetched again when a token names one that is not known, but not more often than
// every Options.KeysPause: strangers must not be able to make this server bother the provider. A key that the provider does not
// publish any more is forgotten at the next fetch, at the latest after Options.KeysAge.
//
// The signature is checked first, then everything else; claims are read only after that. Claims become a member as
// Options.Claims says, whom the directory (control/account/directory) remembers, for nobody can be asked about others.
// Tokens of a provider cannot be revoked before they expire: keep them short there.
package oidc
