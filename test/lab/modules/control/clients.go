package main

import (
	"net/http"
	"slices"
	"strings"

	"tailscale.com/util/rands"
)

// scopes are those that the endpoints here ask for. Each but all and all:read is also there with :read.
var scopes = []string{"all", "auth_keys", "devices:core", "devices:routes", "oauth_keys", "policy_file"}

func isScope(text string) bool { return slices.Contains(scopes, strings.TrimSuffix(text, ":read")) }

// may says whether the client has the scope, or one that it is a part of.
func (g grant) may(scope string) bool {
	whole := strings.TrimSuffix(scope, ":read")
	return g.client.scopes == nil || slices.ContainsFunc(g.client.scopes, func(held string) bool {
		return held == scope || held == whole || held == "all" || held == "all:read" && scope != whole
	})
}

// scope is what the client has, as the answer with a token tells it.
func (c *client) scope() string {
	if c.scopes == nil {
		return "all"
	}
	return strings.Join(c.scopes, " ")
}

func deny(w http.ResponseWriter) {
	fail(w, 403, "calling actor does not have enough permissions to perform this function")
}

// createClient makes an OAuth client of the tailnet, which has these scopes and no others. It carries no tags: clients of the lab own all that have an owner.
func (s *server) createClient(w http.ResponseWriter, g grant, label string, wanted []string) {
	switch {
	case !g.may("oauth_keys") || slices.ContainsFunc(wanted, func(scope string) bool { return !g.may(scope) }):
		deny(w)
		return
	case len(wanted) == 0 || slices.ContainsFunc(wanted, func(scope string) bool { return !isScope(scope) }):
		fail(w, 400, "scopes: one at least, and none that nobody knows")
		return
	case !description.MatchString(label):
		fail(w, 400, "description: at most 50 letters, digits, hyphens and spaces")
		return
	}
	c, secret := &client{ID: s.id("C"), tailnet: g.tailnet, scopes: wanted}, "tskey-client-"+rands.HexString(24)
	s.clients[secret] = c
	reply(w, 200, map[string]any{"id": c.ID, "key": secret, "keyType": "client", "description": label, "scopes": wanted})
}
