package main

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// ask calls the API with a token and gives the answer's status and body.
func (w *world) ask(token, method, path, body string) (int, string) {
	r := httptest.NewRequest(method, "/api/v2"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	if path == "/oauth/token" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer := httptest.NewRecorder()
	w.handler().ServeHTTP(answer, r)
	return answer.Code, strings.TrimSpace(answer.Body.String())
}

// signIn makes a client with the scopes and gives a token of it, and the scopes that come with it.
func (w *world) signIn(t *testing.T, scopes ...string) (token, scope string) {
	t.Helper()
	w.tokens["all"] = grant{client: &client{tailnet: w.t}, tailnet: w.t}
	var made struct{ ID, Key string }
	body, _ := json.Marshal(map[string]any{"keyType": "client", "scopes": scopes})
	if status, said := w.ask("all", "POST", "/tailnet/-/keys", string(body)); status != 200 || json.Unmarshal([]byte(said), &made) != nil {
		t.Fatalf("a client with %v: %d %s", scopes, status, said)
	}
	var answer struct{ Access_token, Scope string }
	form := url.Values{"client_id": {made.ID}, "client_secret": {made.Key}}.Encode()
	if status, said := w.ask("", "POST", "/oauth/token", form); status != 200 || json.Unmarshal([]byte(said), &answer) != nil {
		t.Fatalf("its token: %d %s", status, said)
	}
	return answer.Access_token, answer.Scope
}

func TestScopes(t *testing.T) {
	const refused = `{"message":"calling actor does not have enough permissions to perform this function"}`
	const key = `{"capabilities": {"devices": {"create": {"tags": ["tag:a"]}}}}`
	const mine = `{"grants": [], "tagOwners": {"tag:a": []}}`
	for _, c := range []struct{ scopes, method, path, body, want string }{
		{"auth_keys devices:core devices:routes", "GET", "/tailnet/-/acl", "", refused},
		{"auth_keys devices:core devices:routes", "POST", "/tailnet/-/acl", mine, refused},
		{"auth_keys devices:core devices:routes", "POST", "/tailnet/-/acl/validate", mine, refused},
		{"auth_keys devices:core devices:routes", "POST", "/tailnet/-/keys", key, "tskey-auth-"},
		{"auth_keys devices:core devices:routes", "GET", "/tailnet/-/keys?all=true", "", `"keys":[`},
		{"auth_keys devices:core devices:routes", "GET", "/tailnet/-/devices", "", `"devices":[`},
		{"auth_keys devices:core devices:routes", "POST", "/device/1/routes", `{"routes": []}`, `"enabledRoutes":[]`},
		{"auth_keys devices:core", "POST", "/device/1/routes", `{"routes": []}`, refused},
		{"policy_file", "GET", "/tailnet/-/acl", "", mine},
		{"policy_file", "POST", "/tailnet/-/acl", mine, mine},
		{"policy_file", "POST", "/tailnet/-/keys", key, refused},
		{"policy_file", "GET", "/tailnet/-/devices", "", refused},
		{"policy_file:read", "GET", "/tailnet/-/acl", "", mine},
		{"policy_file:read", "POST", "/tailnet/-/acl/validate", mine, "{}"},
		{"policy_file:read", "POST", "/tailnet/-/acl", mine, refused},
		{"all:read", "GET", "/tailnet/-/acl", "", mine},
		{"all:read", "POST", "/tailnet/-/acl", mine, refused},
		{"all:read", "DELETE", "/tailnet/-", "", refused},
		{"all", "POST", "/tailnet/-/acl", mine, mine},
		{"auth_keys", "POST", "/tailnet/-/keys", `{"keyType": "client", "scopes": ["auth_keys"]}`, refused},
		{"oauth_keys auth_keys", "POST", "/tailnet/-/keys", `{"keyType": "client", "scopes": ["policy_file"]}`, refused},
		{"oauth_keys auth_keys", "POST", "/tailnet/-/keys", `{"keyType": "client", "scopes": ["auth_keys:read"]}`, "tskey-client-"},
		{"all", "POST", "/tailnet/-/keys", `{"keyType": "client", "scopes": []}`, "scopes: "},
		{"all", "POST", "/tailnet/-/keys", `{"keyType": "client", "scopes": ["polices"]}`, "scopes: "},
	} {
		w := open(t, mine)
		w.t.policy = mine
		w.join("a", "tag:a")
		token, told := w.signIn(t, strings.Fields(c.scopes)...)
		status, got := w.ask(token, c.method, c.path, c.body)
		if denied := c.want == refused; told != c.scopes || denied != (status == 403) || denied && got != refused || !strings.Contains(got, c.want) {
			t.Errorf("%s %s with %s (told %s): %d %s, want %s", c.method, c.path, c.scopes, told, status, got, c.want)
		}
		if w.tailnetByID("T1") == nil || w.t.touched != (c.method == "POST" && c.path == "/tailnet/-/acl" && c.want == mine) {
			t.Errorf("%s %s with %s changed what it may not, or did not what it may", c.method, c.path, c.scopes)
		}
	}
}
