package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

func etag(text string) string {
	return fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256([]byte(text))))
}

func (s *server) getPolicy(w http.ResponseWriter, r *http.Request, t *tailnet) {
	w.Header().Set("ETag", etag(t.policy))
	if strings.Contains(r.Header.Get("Accept"), "application/json") { // comments are lost
		std, _ := hujson.Standardize([]byte(t.policy))
		w.Header().Set("Content-Type", "application/json")
		w.Write(std)
		return
	}
	w.Header().Set("Content-Type", "application/hujson")
	io.WriteString(w, t.policy)
}

// refusal is what is wrong with a policy: a message, and which of its tests fail.
type refusal struct {
	Message string        `json:"message,omitempty"`
	Data    []testFailure `json:"data,omitempty"`
}

// judge compiles a policy and runs its tests.
func (s *server) judge(t *tailnet, text string) (*policy, *refusal) {
	p, err := compile(text)
	if err != nil {
		return nil, &refusal{Message: err.Error()}
	}
	if failed := append(p.run(p.tests, s.of(t)), p.runSSH(s.of(t))...); failed != nil {
		return nil, &refusal{Message: "test(s) failed", Data: failed}
	}
	return p, nil
}

// setPolicy takes a policy that stands its own tests, and has every device told at once.
func (s *server) setPolicy(w http.ResponseWriter, r *http.Request, t *tailnet) {
	text, _ := io.ReadAll(r.Body)
	if m := r.Header.Get("If-Match"); m != "" && m != etag(t.policy) && !(m == `"ts-default"` && !t.touched) {
		fail(w, 412, "precondition failed, invalid old hash")
		return
	}
	p, wrong := s.judge(t, string(text))
	if wrong != nil {
		reply(w, 400, wrong)
		return
	}
	t.policy, t.touched, t.compiled = string(text), true, p
	s.changed(t)
	s.getPolicy(w, r, t)
}

// validatePolicy judges an object as a policy, and an array as tests of the policy that is. It answers 200 whatever it finds.
func (s *server) validatePolicy(w http.ResponseWriter, r *http.Request, t *tailnet) {
	text, _ := io.ReadAll(r.Body)
	tree, err := hujson.Parse(text)
	if _, isList := tree.Value.(*hujson.Array); err != nil || !isList {
		if _, wrong := s.judge(t, string(text)); wrong != nil {
			reply(w, 200, wrong)
			return
		}
		reply(w, 200, refusal{})
		return
	}
	tree.Standardize()
	var texts []testText
	tests, err := []test(nil), json.Unmarshal(tree.Pack(), &texts)
	if err == nil {
		tests, err = t.compiled.names.tests(texts)
	}
	if err != nil {
		reply(w, 200, refusal{Message: err.Error()})
	} else if failed := t.compiled.run(tests, s.of(t)); failed != nil {
		reply(w, 200, refusal{Message: "test(s) failed", Data: failed})
	} else {
		reply(w, 200, refusal{})
	}
}

// previewPolicy tells which rules of a policy that is not stored speak of a user, or of an address and port.
func (s *server) previewPolicy(w http.ResponseWriter, r *http.Request, t *tailnet) {
	text, _ := io.ReadAll(r.Body)
	of, what := r.URL.Query().Get("type"), r.URL.Query().Get("previewFor")
	p, err := compile(string(text))
	if err != nil {
		fail(w, 400, err.Error())
		return
	}
	matches := []shown{}
	switch of {
	case "user":
		sel, err := p.names.selector(what, testSrc)
		if err != nil {
			fail(w, 400, err.Error())
			return
		}
		for _, rule := range p.rules {
			if slices.ContainsFunc(each(sel, s.of(t)), func(one party) bool { return leads(rule.src, one, one) }) {
				matches = append(matches, rule.shown)
			}
		}
	case "ipport":
		to, err := p.names.testTargets([]string{what})
		if err != nil {
			fail(w, 400, err.Error())
			return
		}
		for _, rule := range p.rules {
			isPort := slices.ContainsFunc(rule.ports, func(s portSpec) bool { return s.ports.Contains(to[0].port) })
			if isPort && slices.ContainsFunc(each(to[0].sel, s.of(t)), func(one party) bool { return leads(rule.dst, one, party{}) }) {
				matches = append(matches, rule.shown)
			}
		}
	default:
		fail(w, 400, "type: user or ipport")
		return
	}
	reply(w, 200, map[string]any{"matches": matches, "type": of, "previewFor": what})
}
