package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"tailscale.com/util/rands"
)

const maxKeySeconds = 90 * 24 * 3600

var description = regexp.MustCompile(`^[A-Za-z0-9 -]{0,50}$`)

func (k *authKey) json(secret bool) map[string]any {
	m := map[string]any{"id": k.ID, "keyType": "auth", "description": k.Description, "created": k.Created, "expires": k.Expires, "invalid": k.Revoked || k.Used && !k.Reusable || time.Now().After(k.Expires),
		"capabilities": map[string]any{"devices": map[string]any{"create": map[string]any{"reusable": k.Reusable, "ephemeral": k.Ephemeral, "preauthorized": true, "tags": k.Tags}}}}
	if secret {
		m["key"] = k.Secret
	}
	return m
}

// createKey makes an auth key, or an OAuth client.
func (s *server) createKey(w http.ResponseWriter, r *http.Request, g grant) {
	var body struct {
		KeyType, Description string
		ExpirySeconds        int
		Scopes               []string
		Capabilities         struct {
			Devices struct {
				Create struct {
					Reusable, Ephemeral bool
					Tags                []string
				}
			}
		}
	}
	t, err := g.tailnet, json.NewDecoder(r.Body).Decode(&body)
	if body.KeyType == "client" {
		s.createClient(w, g, body.Description, body.Scopes)
		return
	}
	switch {
	case !g.may("auth_keys"):
		deny(w)
		return
	case err != nil || body.KeyType != "" && body.KeyType != "auth":
		fail(w, 400, "the body is not an auth key request")
		return
	case len(body.Capabilities.Devices.Create.Tags) == 0:
		fail(w, 400, "tags are required for keys made with an OAuth token")
		return
	case !t.compiled.owns(body.Capabilities.Devices.Create.Tags):
		fail(w, 400, fmt.Sprintf("requested tags %v are invalid or not permitted", body.Capabilities.Devices.Create.Tags))
		return
	case !description.MatchString(body.Description):
		fail(w, 400, "description: at most 50 letters, digits, hyphens and spaces")
		return
	case body.ExpirySeconds < 0 || body.ExpirySeconds > maxKeySeconds:
		fail(w, 400, "expirySeconds: at most 90 days")
		return
	}
	if body.ExpirySeconds == 0 {
		body.ExpirySeconds = maxKeySeconds
	}
	c := body.Capabilities.Devices.Create
	k := &authKey{ID: s.id("k"), Secret: "tskey-auth-" + rands.HexString(24), Description: body.Description, tailnet: t, Reusable: c.Reusable, Ephemeral: c.Ephemeral, Tags: c.Tags,
		Created: time.Now(), Expires: time.Now().Add(time.Duration(body.ExpirySeconds) * time.Second)}
	s.keys[k.Secret] = k
	reply(w, 200, k.json(true))
}

// listKeys shows auth keys with all=true only: without it an OAuth token sees OAuth clients, which nobody asks to see here.
func (s *server) listKeys(w http.ResponseWriter, r *http.Request, t *tailnet) {
	keys := []*authKey{}
	for _, k := range s.keys {
		if k.tailnet == t && r.FormValue("all") == "true" && !k.Revoked {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b *authKey) int { return strings.Compare(a.ID, b.ID) })
	list := []any{}
	for _, k := range keys {
		list = append(list, k.json(false))
	}
	reply(w, 200, map[string]any{"keys": list})
}

func (s *server) deleteKey(w http.ResponseWriter, r *http.Request, t *tailnet) {
	for _, k := range s.keys {
		if k.ID == r.PathValue("id") && k.tailnet == t && !k.Revoked {
			k.Revoked = true
			w.WriteHeader(200)
			return
		}
	}
	fail(w, 404, "key not found")
}
