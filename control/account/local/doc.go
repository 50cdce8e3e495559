// Package local keeps accounts in a file, for an installation without a directory of users.
//
// One bbolt file, readable by its owner only, holds accounts, hashes of passwords (argon2id) and sessions. A token is a
// JWT signed with a key that never leaves the file, as the seed's clients want it; but it is good only while its session
// is in the file, so that it can be revoked, and rights are read from the account, not from the token.
package local
