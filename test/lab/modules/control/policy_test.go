package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// world is a tailnet with devices: name -> tags and approved routes.
type world struct {
	*server
	t *tailnet
	d map[string]*device
}

func open(t *testing.T, policy string) *world {
	t.Helper()
	s := newServer(&tailcfg.DERPMap{}, 10)
	n := &tailnet{ID: "T1", Name: "acme", DNS: "acme.ts.net", compiled: &policyOpen}
	s.tailnets[n.Name] = n
	w := &world{s, n, map[string]*device{}}
	w.use(t, policy)
	return w
}

var policyOpen = policy{open: true}

func (w *world) use(t *testing.T, text string) {
	t.Helper()
	p, err := compile(text)
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	w.t.compiled = p
}

func (w *world) join(name, tags string, routes ...string) *device {
	w.serial++
	n := &tailcfg.Node{ID: tailcfg.NodeID(w.serial), Name: name + ".acme.ts.net.", Key: key.NewNode().Public(), Hostinfo: (&tailcfg.Hostinfo{}).View(),
		Tags: strings.Fields(tags), Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, byte(w.serial)}), 32)}}
	d := &device{node: n, tailnet: w.t}
	for _, r := range routes {
		d.routes = append(d.routes, netip.MustParsePrefix(r))
	}
	w.devices[n.Key], w.d[name] = d, d
	return d
}

// peers is the names that the device's map shows, each with the routes that it may send there.
func (w *world) peers(name string) string {
	out := []string{}
	for _, p := range w.mapFor(w.d[name]).Peers {
		text := strings.TrimSuffix(p.Name, ".acme.ts.net.")
		for _, r := range p.AllowedIPs[len(p.Addresses):] {
			text += " " + r.String()
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// filter is the device's packet filter, one line to a rule.
func (w *world) filter(name string) string {
	out := []string{}
	for _, r := range w.t.filterFor(w.server, w.d[name]) {
		dsts := []string{}
		for _, p := range r.DstPorts {
			dsts = append(dsts, p.IP+":"+p.Ports.String())
		}
		for _, g := range r.CapGrant {
			for c := range g.CapMap {
				dsts = append(dsts, string(c))
			}
		}
		out = append(out, strings.Join(r.SrcIPs, " ")+" > "+strings.Join(dsts, " "))
	}
	return strings.Join(out, "\n")
}

const owners = `"tagOwners": {"tag:a": [], "tag:b": [], "tag:ra": [], "tag:rb": []}, `

func TestRefused(t *testing.T) {
	for _, c := range []struct{ text, why string }{
		{``, "EOF"},
		{`[]`, "must be an object"},
		{`{"grant": []}`, "unknown field"},
		{`{"grants": [], "Grants": []}`, "twice"},
		{`{"grants": [{"src": ["*"], "dst": ["*"]}]}`, "ip and app"},
		{`{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"], "port": 1}]}`, "unknown field"},
		{`{"grants": [{"src": ["tag:x"], "dst": ["*"], "ip": ["*"]}]}`, `tag not found: "tag:x"`},
		{`{"grants": [{"src": ["group:x"], "dst": ["*"], "ip": ["*"]}]}`, "group not found"},
		{`{"grants": [{"src": ["*"], "dst": ["ipset:x"], "ip": ["*"]}]}`, "ipset not found"},
		{`{"grants": [{"src": ["*"], "dst": ["web"], "ip": ["*"]}]}`, "unknown selector or host"},
		{`{"grants": [{"src": ["autogroup:friends"], "dst": ["*"], "ip": ["*"]}]}`, "unknown autogroup"},
		{`{"grants": [{"src": ["autogroup:self"], "dst": ["*"], "ip": ["*"]}]}`, "cannot be used in the src"},
		{`{"grants": [{"src": ["autogroup:internet"], "dst": ["*"], "ip": ["*"]}]}`, "cannot be used in the src"},
		{`{"grants": [{"src": ["*"], "dst": ["autogroup:danger-all"], "ip": ["*"]}]}`, "cannot be used in the dst"},
		{`{` + owners + `"grants": [{"src": ["tag:a"], "dst": ["autogroup:self"], "ip": ["*"]}]}`, "autogroup:self"},
		{`{"grants": [{"src": ["*"], "dst": ["0.0.0.0/0"], "ip": ["*"]}]}`, "to allow all IP addresses"},
		{`{"grants": [{"src": ["*"], "dst": ["10.0.0.1/8"], "ip": ["*"]}]}`, "unknown selector"},
		{`{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["70000"]}]}`, "bad port"},
		{`{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["90-80"]}]}`, "bad port"},
		{`{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["icmp:8"]}]}`, "has no ports"},
		{`{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["quic:443"]}]}`, "unknown protocol"},
		{`{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"], "via": ["10.0.0.1"]}]}`, "via can only be a tag"},
		{`{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"], "srcPosture": ["posture:x"]}]}`, "posture not found"},
		{`{"acls": [{"action": "deny", "src": ["*"], "dst": ["*:*"]}]}`, "not accept"},
		{`{"acls": [{"action": "accept", "src": ["*"], "dst": ["10.0.0.1"]}]}`, "lacks a port"},
		{`{"acls": [{"action": "accept", "proto": "gre", "src": ["*"], "dst": ["*:22"]}]}`, "has no ports"},
		{`{"tagOwners": {"tag:a": ["tag:b"]}}`, "tag not found"},
		{`{"tagOwners": {"tag:1a": []}}`, "is no tag"},
		{`{"groups": {"group:g": ["group:g"]}}`, "is no user"},
		{`{"hosts": {"web": "10.0.0.1/8"}}`, "hosts"},
		{`{"ipsets": {"ipset:a": ["ipset:b"], "ipset:b": ["ipset:a"]}}`, "holds itself"},
		{`{` + owners + `"ipsets": {"ipset:a": ["tag:a"]}}`, "no addresses of its own"},
		{`{"ipsets": {"ipset:a": ["take 10.0.0.0/8"]}}`, "neither adds nor removes"},
		{`{"autoApprovers": {"routes": {"ten": ["tag:a"]}}}`, "is no CIDR"},
		{`{"autoApprovers": {"exitNode": ["tag:a"]}}`, "tag not found"},
		{`{"nodeAttrs": [{"target": ["tag:a"], "attr": ["funnel"]}]}`, "tag not found"},
		{`{` + owners + `"ssh": [{"action": "accept", "src": ["tag:a"], "dst": ["*"], "users": ["root"]}]}`, "cannot be used in the dst of ssh"},
		{`{` + owners + `"ssh": [{"action": "deny", "src": ["tag:a"], "dst": ["tag:b"], "users": ["root"]}]}`, "not a valid action"},
		{`{` + owners + `"ssh": [{"action": "check", "src": ["tag:a"], "dst": ["tag:b"], "users": ["root"]}]}`, "does not support tags in src"},
		{`{` + owners + `"ssh": [{"action": "accept", "checkPeriod": "1h", "src": ["tag:a"], "dst": ["tag:b"], "users": ["root"]}]}`, "checkPeriod"},
		{`{` + owners + `"ssh": [{"action": "accept", "src": ["tag:a"], "dst": ["tag:b"]}]}`, "must be specified"},
		{`{` + owners + `"tests": [{"src": "tag:a"}]}`, "at least one"},
		{`{` + owners + `"tests": [{"src": "*", "accept": ["tag:b:22"]}]}`, "cannot be used in the src of a test"},
		{`{` + owners + `"tests": [{"src": "tag:a", "accept": ["tag:b:*"]}]}`, "a single one"},
		{`{` + owners + `"tests": [{"src": "tag:a", "deny": ["tag:b:80-90"]}]}`, "a single one"},
		{`{` + owners + `"tests": [{"src": "tag:a", "deny": ["10.0.0.0/8:80"]}]}`, "not a CIDR range"},
		{`{` + owners + `"tests": [{"src": "tag:a", "deny": ["10.0.0.1/32:80"]}]}`, "not a CIDR range"},
		{`{` + owners + `"tests": [{"src": "tag:a", "proto": "icmp", "deny": ["tag:b:80"]}]}`, "tcp, udp, sctp"},
		{`{` + owners + `"tests": [{"src": "tag:a", "deny": ["tag:x:80"]}]}`, "tag not found"},
		{`{` + owners + `"sshTests": [{"src": "tag:a", "dst": ["tag:b"]}]}`, "must be specified"},
	} {
		if _, err := compile(c.text); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: got %v, want %q", c.text, err, c.why)
		}
	}
}

const foreign = `// ours
{
  "groups": {"group:ops": ["ada@example.com", "bob@example.com"]},
  "hosts": {"db": "10.1.0.5", "office": "192.168.7.0/24",},
  "ipsets": {"ipset:prod": ["add 10.1.0.0/16", "remove host:db", "add ipset:more"], "ipset:more": ["192.0.2.1-192.0.2.3", "autogroup:internet"]},
  "tagOwners": {"tag:a": ["group:ops", "autogroup:admin"], "tag:b": ["tag:a"]},
  "postures": {"posture:mac": ["node:os == 'macos'"]},
  "acls": [{"action": "accept", "proto": "tcp", "users": ["group:ops"], "ports": ["db:22,80-90", "[fd7a:115c:a1e0::1]:443"]}],
  "grants": [
    {"src": ["ipset:prod", "autogroup:shared"], "dst": ["svc:web", "autogroup:internet"], "ip": ["udp:*", "icmp:*", "47:*"], "srcPosture": ["posture:mac"]},
    {"src": ["autogroup:member"], "dst": ["autogroup:self"], "app": {"example.com/cap/x": [{"a": 1}]}},
  ],
  "autoApprovers": {"routes": {"10.0.0.0/8": ["tag:a", "group:ops"]}, "exitNode": ["tag:b"], "services": {"svc:web": ["tag:a"]}},
  "ssh": [{"action": "check", "checkPeriod": "12h", "src": ["autogroup:member"], "dst": ["autogroup:self"], "users": ["autogroup:nonroot", "root"]}],
  "nodeAttrs": [{"target": ["*"], "attr": ["funnel"]}],
  "attrConfig": {}, "disableIPv4": false, "OneCGNATRoute": "", "randomizeClientPort": true, "derpMap": {"Regions": {}},
}`

func TestForeignPolicyIsTaken(t *testing.T) {
	p, err := compile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	prod := p.names.sets["ipset:prod"]
	for address, in := range map[string]bool{"10.1.0.4": true, "10.1.0.5": false, "192.0.2.3": true, "192.0.2.4": true, "192.168.7.1": false, "8.8.8.8": true} {
		if prod.ips.Contains(netip.MustParseAddr(address)) != in {
			t.Errorf("ipset:prod and %s: want %v", address, in)
		}
	}
	if !prod.exits || len(p.rules) != 4 || p.rules[0].shown.Line != 10 || p.rules[3].shown.Line != 8 {
		t.Errorf("got %v, %d rules, %+v", prod.exits, len(p.rules), p.rules)
	}
}

func TestWhoSeesWhom(t *testing.T) {
	w := open(t, `{}`)
	w.join("a", "tag:a")
	w.join("b", "tag:b")
	w.join("ra", "tag:ra", "10.1.0.0/24", "10.9.0.0/24")
	w.join("rb", "tag:rb", "10.1.0.0/24", "0.0.0.0/0")
	for _, c := range []struct{ name, grants, a, ra, b string }{
		{"neither grants nor acls", `{}`, "b, ra 10.1.0.0/24 10.9.0.0/24, rb 10.1.0.0/24 0.0.0.0/0", "a, b, rb 10.1.0.0/24 0.0.0.0/0", "a, ra 10.1.0.0/24 10.9.0.0/24, rb 10.1.0.0/24 0.0.0.0/0"},
		{"no grant", `{"grants": []}`, "", "", ""},
		{"no acl", `{"acls": []}`, "", "", ""},
		{"a tag", `{` + owners + `"grants": [{"src": ["tag:a"], "dst": ["tag:b"], "ip": ["22"]}]}`, "b", "", "a"},
		{"a network, by any router", `{` + owners + `"grants": [{"src": ["tag:a"], "dst": ["10.1.0.0/16"], "ip": ["*"]}]}`, "ra 10.1.0.0/24, rb 10.1.0.0/24", "a", ""},
		{"a network, via one", `{` + owners + `"grants": [{"src": ["tag:a"], "dst": ["10.1.0.0/16"], "ip": ["*"], "via": ["tag:ra"]}]}`, "ra 10.1.0.0/24", "a", ""},
		{"via, and the other router for itself", `{` + owners + `"grants": [{"src": ["tag:a"], "dst": ["10.1.0.0/16"], "ip": ["*"], "via": ["tag:ra"]}, {"src": ["tag:a"], "dst": ["tag:rb"], "ip": ["*"]}]}`, "ra 10.1.0.0/24, rb", "a", ""},
		{"via, to what is behind no router", `{` + owners + `"grants": [{"src": ["tag:a"], "dst": ["tag:b"], "ip": ["*"], "via": ["tag:ra"]}]}`, "", "", ""},
		{"the internet", `{` + owners + `"grants": [{"src": ["tag:a"], "dst": ["autogroup:internet"], "ip": ["*"]}]}`, "rb 0.0.0.0/0", "", ""},
		{"by address", `{"grants": [{"src": ["100.64.0.1"], "dst": ["100.64.0.2/32"], "ip": ["*"]}]}`, "b", "", "a"},
		{"members, who are none", `{"grants": [{"src": ["autogroup:member"], "dst": ["*"], "ip": ["*"]}]}`, "", "", ""},
		{"tagged", `{` + owners + `"grants": [{"src": ["autogroup:tagged"], "dst": ["tag:a"], "ip": ["*"]}]}`, "b, ra, rb", "a", "a"},
		{"a posture, which nobody meets", `{"postures": {"posture:p": []}, "grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"], "srcPosture": ["posture:p"]}]}`, "", "", ""},
		{"an app only", `{` + owners + `"grants": [{"src": ["tag:a"], "dst": ["tag:b"], "app": {"example.com/cap/x": []}}]}`, "b", "", "a"},
		{"from a network behind a router", `{` + owners + `"grants": [{"src": ["10.9.0.0/24"], "dst": ["tag:a"], "ip": ["*"]}]}`, "ra 10.9.0.0/24", "a", ""},
		{"an acl", `{` + owners + `"acls": [{"action": "accept", "src": ["tag:a"], "dst": ["tag:b:22"]}]}`, "b", "", "a"},
	} {
		w.use(t, c.grants)
		if a, ra, b := w.peers("a"), w.peers("ra"), w.peers("b"); a != c.a || ra != c.ra || b != c.b {
			t.Errorf("%s:\n got %q | %q | %q\nwant %q | %q | %q", c.name, a, ra, b, c.a, c.ra, c.b)
		}
	}
}

func TestFilters(t *testing.T) {
	w := open(t, `{}`)
	w.join("a", "tag:a")
	w.join("b", "tag:b")
	w.join("ra", "tag:ra", "10.1.0.0/24")
	w.join("rb", "tag:rb", "10.1.0.0/24")
	w.join("m", "")
	w.join("m2", "")
	for _, c := range []struct{ name, text, at, want string }{
		{"nothing", `{"grants": []}`, "b", ""},
		{"ports and protocols", `{` + owners + `"grants": [{"src": ["tag:a"], "dst": ["tag:b"], "ip": ["80-90", "udp:53"]}]}`, "b", "100.64.0.1 > 100.64.0.2:80-90\n100.64.0.1 > 100.64.0.2:53"},
		{"at another device nothing", `{` + owners + `"grants": [{"src": ["tag:a"], "dst": ["tag:b"], "ip": ["80-90"]}]}`, "ra", ""},
		{"all, from all", `{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}`, "rb", "10.1.0.0/24 100.64.0.0/10 fd7a:115c:a1e0::/48 > *:*"},
		{"a network, by its routers", `{` + owners + `"grants": [{"src": ["tag:a"], "dst": ["10.1.0.0/25", "10.2.0.0/24"], "ip": ["tcp:443"]}]}`, "rb", "100.64.0.1 > 10.1.0.0/25:443"},
		{"via this router", `{` + owners + `"grants": [{"src": ["tag:a"], "dst": ["10.1.0.0/24", "tag:ra", "*"], "ip": ["*"], "via": ["tag:ra"]}]}`, "ra", "100.64.0.1 > 10.1.0.0/24:*"},
		{"via another", `{` + owners + `"grants": [{"src": ["tag:a"], "dst": ["10.1.0.0/24", "tag:rb", "*"], "ip": ["*"], "via": ["tag:ra"]}]}`, "rb", ""},
		{"an ipset with a hole", `{` + owners + `"ipsets": {"ipset:s": ["add 10.1.0.0/24", "remove 10.1.0.128/25"]}, "grants": [{"src": ["tag:a"], "dst": ["ipset:s"], "ip": ["*"]}]}`, "ra", "100.64.0.1 > 10.1.0.0/25:*"},
		{"a host", `{` + owners + `"hosts": {"db": "10.1.0.5"}, "acls": [{"action": "accept", "src": ["tag:a"], "dst": ["db:5432"]}]}`, "ra", "100.64.0.1 > 10.1.0.5/32:5432"},
		{"own devices", `{"grants": [{"src": ["autogroup:member"], "dst": ["autogroup:self"], "ip": ["22"]}]}`, "m", "100.64.0.6 > 100.64.0.5:22"},
		{"own devices, not of tagged ones", `{"grants": [{"src": ["autogroup:member"], "dst": ["autogroup:self"], "ip": ["22"]}]}`, "b", ""},
		{"an app", `{` + owners + `"grants": [{"src": ["tag:a"], "dst": ["tag:b"], "app": {"example.com/cap/x": [{"y": 1}]}}]}`, "b", "100.64.0.1 > example.com/cap/x"},
		{"a posture, which nobody meets", `{"postures": {"posture:p": []}, "grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"], "srcPosture": ["posture:p"]}]}`, "b", ""},
		{"a user, who has no device", `{"grants": [{"src": ["ada@example.com"], "dst": ["*"], "ip": ["*"]}]}`, "b", ""},
		{"from anywhere", `{` + owners + `"grants": [{"src": ["autogroup:danger-all"], "dst": ["tag:b"], "ip": ["*"]}]}`, "b", "* > 100.64.0.2:*"},
	} {
		w.use(t, c.text)
		if got := w.filter(c.at); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	w.use(t, `{`+owners+`"grants": [{"src": ["tag:a"], "dst": ["tag:b"], "ip": ["icmp:*"]}]}`)
	if f := w.t.filterFor(w.server, w.d["b"]); !slices.Equal(f[0].IPProto, []int{1, 58}) {
		t.Errorf("icmp is %v", f[0].IPProto)
	}
}

func TestSSHAndAttributes(t *testing.T) {
	w := open(t, `{`+owners+`"grants": [], "randomizeClientPort": true,
		"ssh": [{"action": "accept", "src": ["tag:a"], "dst": ["tag:b"], "users": ["autogroup:nonroot", "ubuntu"]},
		        {"action": "check", "src": ["autogroup:member"], "dst": ["tag:ra"], "users": ["root"]}],
		"nodeAttrs": [{"target": ["tag:b"], "attr": ["funnel"], "app": {"example.com/cap/y": [1]}}]}`)
	w.join("a", "tag:a")
	b, ra := w.join("b", "tag:b"), w.join("ra", "tag:ra")
	w.join("m", "")
	rules := w.mapFor(b).SSHPolicy.Rules
	if root, isNamed := rules[0].SSHUsers["root"]; !isNamed || root != "" {
		t.Error("* would let root in")
	}
	if len(rules) != 1 || !rules[0].Action.Accept || rules[0].Principals[0].NodeIP != "100.64.0.1" || rules[0].SSHUsers["*"] != "=" || rules[0].SSHUsers["root"] != "" || rules[0].SSHUsers["ubuntu"] != "ubuntu" {
		t.Errorf("ssh of b: %+v", rules)
	}
	rules = w.mapFor(ra).SSHPolicy.Rules
	if len(rules) != 1 || rules[0].Action.Accept || rules[0].Action.HoldAndDelegate == "" || rules[0].SSHUsers["root"] != "root" {
		t.Errorf("ssh of ra: %+v", rules)
	}
	if rules := w.mapFor(w.d["a"]).SSHPolicy.Rules; rules == nil || len(rules) != 0 {
		t.Errorf("ssh of a: %+v", rules)
	}
	caps := w.mapFor(b).Node.CapMap
	if !caps.Contains("funnel") || !caps.Contains(tailcfg.NodeAttrRandomizeClientPort) || len(caps["example.com/cap/y"]) != 1 || w.mapFor(ra).Node.CapMap.Contains("funnel") {
		t.Errorf("attributes of b: %v", caps)
	}
}

func TestApprovers(t *testing.T) {
	w := open(t, `{`+owners+`"autoApprovers": {"routes": {"10.1.0.0/16": ["tag:ra", "autogroup:member"]}, "exitNode": ["tag:rb"]}}`)
	ra, rb, m := w.join("ra", "tag:ra"), w.join("rb", "tag:rb"), w.join("m", "")
	for _, c := range []struct {
		d     *device
		route string
		want  bool
	}{{ra, "10.1.2.0/24", true}, {ra, "10.1.0.0/16", true}, {ra, "10.0.0.0/8", false}, {rb, "10.1.2.0/24", false}, {m, "10.1.2.0/24", true}, {rb, "0.0.0.0/0", true}, {rb, "::/0", true}, {ra, "::/0", false}} {
		if w.t.compiled.approves(c.d, netip.MustParsePrefix(c.route)) != c.want {
			t.Errorf("%s of %s: want %v", c.route, c.d.node.Name, c.want)
		}
	}
}
