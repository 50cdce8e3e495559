package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Where accounts are.
const (
	AccountsLocal = "local"
	AccountsIAM   = "iam"
	AccountsOIDC  = "oidc"
)

// Accounts are the members, and how they prove who they are.
type Accounts struct {
	Provider string `koanf:"provider" doc:"local: accounts of this installation, in a file. iam: the HTTP API of an existing directory of users. oidc: an OpenID Connect provider."`
	Path     string `koanf:"path" doc:"File of the local accounts, or of the members that an OpenID provider vouched for. It belongs to one daemon, and to root."`
	Socket   string `koanf:"socket" doc:"Path of a unix socket on which only root can use lanyardd account while the daemon runs. Empty: none."`
	CA       string `koanf:"ca" doc:"File with certificates (PEM) of authorities that the directory or provider may have its certificate from, beside the system's."`

	Lifetime     time.Duration `koanf:"token_lifetime" doc:"local: how long a login lasts."`
	HashMemory   int           `koanf:"hash_memory" doc:"local: MiB that one argon2id hash of a password takes. Higher costs of it are taken over at the next login."`
	HashPasses   int           `koanf:"hash_passes" doc:"local: passes of argon2id."`
	HashThreads  int           `koanf:"hash_threads" doc:"local: lanes of argon2id."`
	HashParallel int           `koanf:"hash_parallel" doc:"local: passwords that are checked at once."`

	IAMURL   string        `koanf:"iam_url" doc:"iam: URL of the API with its version, such as https://iam.example.org/v1."`
	IAMToken string        `koanf:"iam_token_file" doc:"iam: file with a token of an administrator there, with which other members than the caller are found. It is read each time."`
	IAMFresh time.Duration `koanf:"iam_fresh" doc:"iam: how long its answers count. A token that is revoked works until then."`
	IAMStale time.Duration `koanf:"iam_stale" doc:"iam: how long they count while it does not answer. 0: not at all."`

	OIDCIssuer     string        `koanf:"oidc_issuer" doc:"oidc: the issuer, exactly as its discovery document has it."`
	OIDCAudiences  []string      `koanf:"oidc_audiences" doc:"oidc: client ids; a token must be meant for one of them."`
	OIDCSkew       time.Duration `koanf:"oidc_skew" doc:"oidc: by how much its clock may differ."`
	OIDCUID        string        `koanf:"oidc_uid_claim" doc:"oidc: claim with the member's number. Empty: numbers are given in the order of first logins. Dots reach into objects, in all claims."`
	OIDCUsername   string        `koanf:"oidc_username_claim" doc:"oidc: claim with the user name; it becomes the webspace's."`
	OIDCAdmin      string        `koanf:"oidc_admin_claim" doc:"oidc: claim that makes an administrator. Empty: nobody is one."`
	OIDCAdminValue string        `koanf:"oidc_admin_value" doc:"oidc: what that claim must be, or have in its list. Empty: true."`
	OIDCSSHKey     string        `koanf:"oidc_ssh_key_claim" doc:"oidc: claim with an SSH public key, or a list of them. Empty: none."`
}

func defaultAccounts() Accounts {
	return Accounts{
		Provider: AccountsLocal, Path: "/var/lib/lanyard/accounts.db", Socket: "/run/lanyard/accounts.sock",
		Lifetime: 30 * 24 * time.Hour, HashMemory: 64, HashPasses: 3, HashThreads: 4, HashParallel: 2,
		IAMFresh: 10 * time.Second, IAMStale: 10 * time.Minute,
		OIDCSkew: 30 * time.Second, OIDCUsername: "preferred_username",
	}
}

// Check checks what all roles need that know members.
func (a Accounts) Check() error {
	switch {
	case !slices.Contains([]string{AccountsLocal, AccountsIAM, AccountsOIDC}, a.Provider):
		return bad("accounts.provider", fmt.Sprintf("%q is none of local, iam, oidc", a.Provider), "leave it at local")
	case !strings.HasPrefix(a.Path, "/"):
		return bad("accounts.path", fmt.Sprintf("%q is no absolute path", a.Path), "leave it at /var/lib/lanyard/accounts.db")
	case a.Socket != "" && (!strings.HasPrefix(a.Socket, "/") || len(a.Socket) > 107):
		return bad("accounts.socket", fmt.Sprintf("%q is no absolute path of at most 107 octets", a.Socket), "leave it at /run/lanyard/accounts.sock")
	case a.Lifetime < time.Minute || a.Lifetime > 10*365*24*time.Hour:
		return bad("accounts.token_lifetime", fmt.Sprintf("%v is not between a minute and ten years", a.Lifetime), "leave it at 720h")
	}
	for _, s := range []struct {
		key             string
		value, min, max int
	}{{"hash_memory", a.HashMemory, 1, 4096}, {"hash_passes", a.HashPasses, 1, 100}, {"hash_threads", a.HashThreads, 1, 64}, {"hash_parallel", a.HashParallel, 1, 64}} {
		if s.value < s.min || s.value > s.max {
			return bad("accounts."+s.key, fmt.Sprintf("%d is not between %d and %d", s.value, s.min, s.max), "leave it at its default")
		}
	}
	for key, d := range map[string]time.Duration{"iam_fresh": a.IAMFresh, "iam_stale": a.IAMStale, "oidc_skew": a.OIDCSkew} {
		if d < 0 || d > 24*time.Hour {
			return bad("accounts."+key, fmt.Sprintf("%v is not between 0 and a day", d), "leave it at its default")
		}
	}
	switch a.Provider {
	case AccountsIAM:
		return webAddress("accounts.iam_url", a.IAMURL)
	case AccountsOIDC:
		if len(a.OIDCAudiences) == 0 {
			return bad("accounts.oidc_audiences", "it is empty", "list the client ids whose tokens are for Lanyard")
		}
		if a.OIDCSkew > 5*time.Minute {
			return bad("accounts.oidc_skew", fmt.Sprintf("%v is more than 5m", a.OIDCSkew), "leave it at 30s, and set the clocks")
		}
		return webAddress("accounts.oidc_issuer", a.OIDCIssuer)
	}
	return nil
}

func webAddress(key, s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return bad(key, fmt.Sprintf("%q is no URL", s), "write one such as https://login.example.org")
	}
	return nil
}
