package githubtest

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// user, release and asset have the fields of GitHub's answers ("List releases", version 2022-11-28, as its documentation shows
// them, with the digest that assets have since June 2025), in their order. What nobody here reads has the documentation's values.
const user = `{"login":"octocat","id":1,"node_id":"MDQ6VXNlcjE=","avatar_url":"https://github.com/images/error/octocat_happy.gif","gravatar_id":"",` +
	`"url":"https://api.github.com/users/octocat","html_url":"https://github.com/octocat","followers_url":"https://api.github.com/users/octocat/followers",` +
	`"following_url":"https://api.github.com/users/octocat/following{/other_user}","gists_url":"https://api.github.com/users/octocat/gists{/gist_id}",` +
	`"starred_url":"https://api.github.com/users/octocat/starred{/owner}{/repo}","subscriptions_url":"https://api.github.com/users/octocat/subscriptions",` +
	`"organizations_url":"https://api.github.com/users/octocat/orgs","repos_url":"https://api.github.com/users/octocat/repos",` +
	`"events_url":"https://api.github.com/users/octocat/events{/privacy}","received_events_url":"https://api.github.com/users/octocat/received_events",` +
	`"type":"User","user_view_type":"public","site_admin":false}`

const release = `{"url":"API/repos/REPO/releases/ID","assets_url":"API/repos/REPO/releases/ID/assets",` +
	`"upload_url":"https://uploads.github.com/repos/REPO/releases/ID/assets{?name,label}","html_url":"API/REPO/releases/tag/TAG","id":ID,` +
	`"author":` + user + `,"node_id":"MDc6UmVsZWFzZTE=","tag_name":"TAG","target_commitish":"master","name":"TAG","draft":DRAFT,"immutable":false,"prerelease":PRE,` +
	`"created_at":"TIME","updated_at":"TIME","published_at":"TIME","assets":[ASSETS],"tarball_url":"API/repos/REPO/tarball/TAG","zipball_url":"API/repos/REPO/zipball/TAG",` +
	`"body":"**Full Changelog**: https://github.com/REPO/commits/TAG\r\n"}`

const asset = `{"url":"API/repos/REPO/releases/assets/ID","id":ID,"node_id":"MDEyOlJlbGVhc2VBc3NldDE=","name":"NAME","label":null,"uploader":` + user + `,` +
	`"content_type":"application/octet-stream","state":"uploaded","size":SIZE,"digest":DIGEST,"download_count":42,"created_at":"TIME","updated_at":"TIME",` +
	`"browser_download_url":"API/REPO/releases/download/TAG/NAME"}`

// shape writes a release as GitHub does.
func (d *Double) shape(repo string, r *Release) json.RawMessage {
	at := r.Published.UTC().Format(time.RFC3339)
	var assets []string
	for _, f := range r.Assets {
		digest := strconv.Quote(f.Digest)
		if f.Digest == NoDigest {
			digest = "null"
		}
		assets = append(assets, strings.NewReplacer("API", d.API.URL, "REPO", repo, "TAG", r.Tag, "NAME", f.Name, "SIZE", strconv.FormatInt(f.Size, 10),
			"DIGEST", digest, "TIME", at, "ID", strconv.FormatInt(f.id, 10)).Replace(asset))
	}
	text := strings.NewReplacer("API", d.API.URL, "REPO", repo, "TAG", r.Tag, "DRAFT", strconv.FormatBool(r.Draft), "PRE", strconv.FormatBool(r.Prerelease),
		"TIME", at, "ASSETS", strings.Join(assets, ","), "ID", strconv.FormatInt(r.id, 10)).Replace(release)
	return json.RawMessage(text)
}
