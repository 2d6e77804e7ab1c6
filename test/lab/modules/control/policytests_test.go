package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTests(t *testing.T) {
	const rules = owners + `"groups": {"group:g": ["ada@x.org", "bob@x.org"], "group:none": []}, "hosts": {"db": "10.1.0.5"},
		"ipsets": {"ipset:s": ["add 10.3.0.0/16", "remove 10.3.9.0/24"]}, "postures": {"posture:p": []},
		"grants": [
			{"src": ["tag:a"], "dst": ["10.1.0.0/16"], "ip": ["tcp:443", "udp:53"]},
			{"src": ["tag:a"], "dst": ["10.2.0.0/16"], "ip": ["*"], "via": ["tag:ra"]},
			{"src": ["tag:a"], "dst": ["ipset:s"], "ip": ["*"]},
			{"src": ["ada@x.org"], "dst": ["tag:b", "autogroup:self"], "ip": ["22"]},
			{"src": ["autogroup:member"], "dst": ["autogroup:internet"], "ip": ["*"]},
			{"src": ["*"], "dst": ["10.5.0.0/16"], "ip": ["*"]},
			{"src": ["100.64.0.0/10"], "dst": ["10.4.0.1"], "ip": ["80"]},
			{"src": ["tag:b"], "dst": ["tag:a"], "ip": ["80"], "srcPosture": ["posture:p"]},
		],
		"acls": [{"action": "accept", "proto": "udp", "src": ["autogroup:tagged"], "dst": ["tag:rb:1-9"]}], `
	for _, c := range []struct{ test, want string }{
		{`{"src": "tag:a", "accept": ["10.1.0.9:443", "db:443", "10.1.0.9:53"], "deny": ["10.1.0.9:80", "10.9.0.1:443", "tag:b:443"]}`, ""},
		{`{"src": "tag:a", "accept": ["10.1.0.9:80"]}`, `tag:a address "10.1.0.9:80": want: Accept, got: Drop`},
		{`{"src": "tag:a", "deny": ["10.1.0.9:443"]}`, `tag:a address "10.1.0.9:443": want: Drop, got: Accept`},
		{`{"src": "tag:a", "proto": "udp", "accept": ["db:443"]}`, `tag:a address "db:443" (udp): want: Accept, got: Drop`},
		{`{"src": "tag:a", "proto": "17", "accept": ["db:53"], "deny": ["db:443"]}`, ""},
		{`{"src": "tag:a", "accept": ["10.2.0.1:1", "10.3.0.1:1"], "deny": ["10.3.9.1:1"]}`, ""},
		{`{"src": "ada@x.org", "accept": ["tag:b:22", "8.8.8.8:53", "ada@x.org:22"], "deny": ["10.1.0.9:443", "tag:b:23", "bob@x.org:22"]}`, ""},
		{`{"src": "group:g", "deny": ["tag:b:22"]}`, `group:g address "tag:b:22": want: Drop, got: Accept`},
		{`{"src": "group:g", "accept": ["tag:b:22"]}`, `group:g address "tag:b:22": want: Accept, got: Drop`},
		{`{"src": "group:g", "accept": ["8.8.8.8:53"]}`, ""},
		{`{"src": "group:none", "accept": ["8.8.8.8:53"]}`, `group:none address "8.8.8.8:53": want: Accept, got: Drop`},
		{`{"src": "tag:b", "accept": ["10.4.0.1:80", "tag:rb:9"], "deny": ["tag:a:80"]}`, ""},
		{`{"src": "100.64.0.1", "accept": ["10.1.0.9:443"], "deny": ["10.9.0.9:443"]}`, ""},
		{`{"src": "100.64.0.9", "accept": ["10.4.0.1:80"], "deny": ["10.1.0.9:443"]}`, ""},
		{`{"src": "tag:a", "accept": ["100.64.0.2:5"], "proto": "udp"}`, ""},
		{`{"src": "10.6.0.1", "accept": ["10.5.0.1:1"]}`, `10.6.0.1 address "10.5.0.1:1": want: Accept, got: Drop`},
		{`{"src": "10.7.0.1", "accept": ["10.5.0.1:1"]}`, ""},
		{`{"src": "100.64.0.9", "accept": ["10.5.0.1:1"]}`, ""},
	} {
		w := open(t, `{}`)
		w.join("a", "tag:a")
		w.join("rb", "tag:rb", "10.7.0.0/16")
		_, wrong := w.judge(w.t, `{`+rules+`"tests": [`+c.test+`]}`)
		if got := said(wrong); got != c.want {
			t.Errorf("%s: got %q, want %q", c.test, got, c.want)
		}
	}
}

// said is a refusal in one line.
func said(wrong *refusal) string {
	if wrong == nil {
		return ""
	}
	if wrong.Data == nil {
		return wrong.Message
	}
	out := []string{}
	for _, f := range wrong.Data {
		out = append(out, f.User+" "+strings.Join(f.Errors, "; "))
	}
	return strings.Join(out, " | ")
}

func TestSSHTests(t *testing.T) {
	const rules = owners + `"ssh": [
		{"action": "accept", "src": ["tag:a"], "dst": ["tag:b"], "users": ["autogroup:nonroot"]},
		{"action": "check", "src": ["autogroup:member"], "dst": ["tag:b", "autogroup:self"], "users": ["root"]}], `
	for _, c := range []struct{ test, want string }{
		{`{"src": "tag:a", "dst": ["tag:b"], "accept": ["ubuntu"], "deny": ["root"]}`, ""},
		{`{"src": "ada@x.org", "dst": ["tag:b"], "accept": ["root"], "check": ["root"], "deny": ["ubuntu"]}`, ""},
		{`{"src": "tag:a", "dst": ["tag:b", "tag:ra"], "accept": ["ubuntu"]}`, `tag:a user "ubuntu" at "tag:ra": want: Accept, got: Drop`},
		{`{"src": "tag:a", "dst": ["tag:b"], "deny": ["ubuntu"]}`, `tag:a user "ubuntu" at "tag:b": want: Drop, got: Accept`},
		{`{"src": "tag:a", "dst": ["tag:b"], "check": ["ubuntu"]}`, `tag:a user "ubuntu" at "tag:b": want: Check, got: Accept`},
	} {
		w := open(t, `{}`)
		if _, wrong := w.judge(w.t, `{`+rules+`"sshTests": [`+c.test+`]}`); said(wrong) != c.want {
			t.Errorf("%s: got %q, want %q", c.test, said(wrong), c.want)
		}
	}
}

// call asks the API as the tailnet's client.
func (w *world) call(t *testing.T, method, path, body, match string) (int, string) {
	t.Helper()
	w.tokens["token"] = grant{client: &client{tailnet: w.t}, tailnet: w.t}
	r := httptest.NewRequest(method, "/api/v2/tailnet/-"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer token")
	if match != "" {
		r.Header.Set("If-Match", match)
	}
	answer := httptest.NewRecorder()
	w.handler().ServeHTTP(answer, r)
	return answer.Code, strings.TrimSpace(answer.Body.String())
}

const failing = `{"grants": [], "tagOwners": {"tag:a": []}, "tests": [{"src": "tag:a", "accept": ["10.0.0.1:80"]}]}`
const failure = `{"message":"test(s) failed","data":[{"user":"tag:a","errors":["address \"10.0.0.1:80\": want: Accept, got: Drop"]}]}`

func TestAPI(t *testing.T) {
	w := open(t, `{}`)
	w.t.policy = `{}`
	for i, c := range []struct {
		path, body, match string
		status            int
		want              string
	}{
		{"/acl", failing, `"ts-default"`, 400, failure},
		{"/acl", `{"grants": [{"src": ["tag:x"], "dst": ["*"], "ip": ["*"]}]}`, "", 400, `tag not found`},
		{"/acl/validate", failing, "", 200, failure},
		{"/acl/validate", `{"grants": [{"src": ["tag:x"], "dst": ["*"], "ip": ["*"]}]}`, "", 200, `tag not found`},
		{"/acl/validate", `{`, "", 200, `{"message":`},
		{"/acl/validate", foreign, "", 200, `{}`},
		{"/acl", `{"grants": []} // mine`, `"old"`, 412, "precondition failed"},
		{"/acl", foreign, `"ts-default"`, 200, foreign},
		{"/acl", foreign, `"ts-default"`, 412, "precondition failed"},
		{"/acl", foreign, etag(foreign), 200, foreign},
		{"/acl/validate", `[{"src": "tag:a", "accept": ["tag:b:80"]},]`, "", 200, `want: Accept, got: Drop`},
		{"/acl/validate", `// none
			[{"src": "tag:a", "deny": ["tag:b:80"]}]`, "", 200, `{}`},
		{"/acl/validate", `[{"src": "tag:unknown", "deny": ["tag:b:80"]}]`, "", 200, `tag not found`},
		{"/acl/preview?type=user&previewFor=ada@example.com", foreign, "", 200, `"lineNumber":8`},
		{"/acl/preview?type=ipport&previewFor=10.1.0.5:85", foreign, "", 200, `{"matches":[{"users":["group:ops"],"ports":["db:22,80-90"],"lineNumber":8}],"previewFor":"10.1.0.5:85","type":"ipport"}`},
		{"/acl/preview?type=ipport&previewFor=10.1.0.5:91", foreign, "", 200, `"matches":[]`},
		{"/acl/preview", foreign, "", 400, "type"},
		{"/keys", `{"capabilities": {"devices": {"create": {"tags": ["tag:b"]}}}}`, "", 200, "tskey-auth-"},
		{"/keys", `{"capabilities": {"devices": {"create": {"tags": ["tag:z"]}}}}`, "", 400, "requested tags [tag:z]"},
	} {
		before := w.t.policy
		status, got := w.call(t, "POST", c.path, c.body, c.match)
		if exact := strings.HasPrefix(c.want, "{}"); status != c.status || exact && got != c.want || !strings.Contains(got, c.want) {
			t.Errorf("%d %s: got %d %s, want %d %s", i, c.path, status, got, c.status, c.want)
		}
		if status != 200 && w.t.policy != before {
			t.Errorf("%d: a refused policy changed something", i)
		}
	}
}

func TestDevicesAreToldAtOnce(t *testing.T) {
	w := open(t, `{`+owners+`"grants": [{"src": ["tag:a"], "dst": ["tag:b"], "ip": ["*"]}]}`)
	a, b := w.join("a", "tag:a"), w.join("b", "tag:b")
	a.wake, b.wake = make(chan struct{}, 1), make(chan struct{}, 1)
	if w.peers("a") != "b" || w.peers("b") != "a" {
		t.Fatal("they do not see each other")
	}
	if status, said := w.call(t, "POST", "/acl", failing, ""); status != 400 || len(a.wake) != 0 {
		t.Fatalf("a refused policy: %d %s", status, said)
	}
	if status, said := w.call(t, "POST", "/acl", `{"grants": []}`, ""); status != 200 || len(a.wake) != 1 || len(b.wake) != 1 || w.peers("a") != "" || w.peers("b") != "" {
		t.Fatalf("%d %s: %d, %d woken", status, said, len(a.wake), len(b.wake))
	}
}

func TestCheckHasNobodyToAsk(t *testing.T) {
	answer := httptest.NewRecorder()
	sshCheck(answer, httptest.NewRequest(http.MethodGet, "/machine/ssh/action/from/1/to/2", nil))
	var action struct{ Reject bool }
	if err := json.Unmarshal(answer.Body.Bytes(), &action); err != nil || !action.Reject {
		t.Error(fmt.Sprint(err, action))
	}
}
