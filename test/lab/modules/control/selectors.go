package main

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"go4.org/netipx"
	"tailscale.com/net/tsaddr"
)

// kind is what a selector speaks of.
type kind uint16

const (
	everyone kind = 1 << iota // *
	anywhere                  // autogroup:danger-all: also from outside the tailnet
	tagKind
	tagged
	member
	userKind  // one user, or a group of them
	roleKind  // autogroup:admin and its like: users again
	hostKind  // an address, a CIDR, or its name in `hosts`
	setKind   // ipset:NAME
	internet  // autogroup:internet
	self      // autogroup:self
	serviceKd // svc:NAME: the lab has none
	shared    // autogroup:shared: nor shares
)

// selector is one name of a source, a destination or a target, resolved as far as the policy alone says.
type selector struct {
	kind  kind
	text  string
	users []string
	ips   *netipx.IPSet // of hostKind, setKind, internet
	exits bool          // the addresses are of the internet, which exit nodes carry
}

// place is where a selector stands, and what may stand there.
type place struct {
	name string
	may  kind
}

var (
	devices  = tagKind | tagged | member | userKind | roleKind
	ruleSrc  = place{"the src of a rule", everyone | anywhere | shared | devices | hostKind | setKind}
	ruleDst  = place{"the dst of a rule", everyone | devices | hostKind | setKind | internet | self | serviceKd}
	sshSrc   = place{"the src of ssh", devices}
	sshDst   = place{"the dst of ssh", tagKind | tagged | member | userKind | self}
	target   = place{"the target of nodeAttrs", everyone | devices | hostKind}
	approver = place{"autoApprovers", devices}
	owner    = place{"tagOwners", tagKind | userKind | roleKind | member}
	testSrc  = place{"the src of a test", devices | hostKind}
	testDst  = place{"the destination of a test", devices | hostKind | self}
)

var (
	tagName  = regexp.MustCompile(`^tag:[a-zA-Z][a-zA-Z0-9-]*$`)
	roles    = []string{"owner", "admin", "it-admin", "network-admin", "billing-admin", "auditor"}
	plain    = map[string]kind{"member": member, "members": member, "tagged": tagged, "self": self, "danger-all": anywhere, "shared": shared}
	theWeb   = internetSet()
	tailnetV = []netip.Prefix{tsaddr.CGNATRange(), tsaddr.TailscaleULARange()}
)

// internetSet is what autogroup:internet means: all but private, link-local and tailnets' addresses.
func internetSet() *netipx.IPSet {
	var b netipx.IPSetBuilder
	b.AddPrefix(netip.MustParsePrefix("0.0.0.0/0"))
	b.AddPrefix(netip.MustParsePrefix("2000::/3"))
	for _, p := range []string{"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4"} {
		b.RemovePrefix(netip.MustParsePrefix(p))
	}
	set, _ := b.IPSet()
	return set
}

func setOf(prefixes ...netip.Prefix) *netipx.IPSet {
	var b netipx.IPSetBuilder
	for _, p := range prefixes {
		b.AddPrefix(p)
	}
	set, _ := b.IPSet()
	return set
}

// names is what a policy gives names to.
type names struct {
	owners, groups map[string][]string
	hosts          map[string]netip.Prefix
	sets           map[string]selector
	postures       map[string][]string
}

// prefixOf reads an address or a CIDR. Host bits are a mistake: the real clients throw such a rule away.
func prefixOf(text string) (netip.Prefix, bool) {
	text = strings.Trim(text, "[]")
	if p, err := netip.ParsePrefix(text); err == nil {
		return p, p == p.Masked()
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	return netip.Prefix{}, false
}

// selector resolves one name at a place, or says why it cannot stand there.
func (n *names) selector(text string, at place) (selector, error) {
	sel, err := n.parse(text)
	if err == nil && sel.kind&at.may == 0 {
		err = fmt.Errorf("%q cannot be used in %s", text, at.name)
	}
	return sel, err
}

func (n *names) parse(text string) (selector, error) {
	sel := selector{text: text}
	prefix, rest, _ := strings.Cut(text, ":")
	switch {
	case text == "*":
		sel.kind = everyone
	case prefix == "tag":
		if _, ok := n.owners[text]; !ok {
			return sel, fmt.Errorf("tag not found: %q", text)
		}
		sel.kind = tagKind
	case prefix == "group":
		users, ok := n.groups[text]
		if !ok {
			return sel, fmt.Errorf("group not found: %q", text)
		}
		sel.kind, sel.users = userKind, users
	case prefix == "ipset":
		set, ok := n.sets[text]
		if !ok {
			return sel, fmt.Errorf("ipset not found: %q", text)
		}
		return set, nil
	case prefix == "svc" && rest != "":
		sel.kind = serviceKd
	case text == "autogroup:internet":
		sel.kind, sel.ips, sel.exits = internet, theWeb, true
	case prefix == "autogroup" && slices.Contains(roles, rest):
		sel.kind = roleKind
	case prefix == "autogroup":
		if sel.kind = plain[rest]; sel.kind == 0 {
			return sel, fmt.Errorf("unknown autogroup %q", text)
		}
	case strings.Contains(text, "@"):
		sel.kind, sel.users = userKind, []string{text}
	default:
		p, ok := n.hosts[text]
		if !ok {
			p, ok = prefixOf(text)
		}
		if !ok {
			return sel, fmt.Errorf("unknown selector or host %q", text)
		}
		sel.kind, sel.ips = hostKind, setOf(p)
	}
	return sel, nil
}

func (n *names) selectors(texts []string, at place) ([]selector, error) {
	out := []selector{}
	for _, text := range texts {
		sel, err := n.selector(text, at)
		if err != nil {
			return nil, err
		}
		out = append(out, sel)
	}
	return out, nil
}

// read takes the naming sections in, each name checked, whoever uses it.
func (n *names) read(f *policyText) error {
	n.owners, n.groups, n.postures = f.TagOwners, f.Groups, f.Postures
	n.hosts, n.sets = map[string]netip.Prefix{}, map[string]selector{}
	for name, users := range f.Groups {
		if !strings.HasPrefix(name, "group:") {
			return fmt.Errorf("groups: %q does not begin with group:", name)
		}
		for _, user := range users {
			if !strings.Contains(user, "@") {
				return fmt.Errorf("groups: %q in %s is no user", user, name)
			}
		}
	}
	for name, at := range f.Hosts {
		p, ok := prefixOf(at)
		if _, isAddress := prefixOf(name); !ok || isAddress || name == "" || strings.ContainsAny(name, ":*@/ ") {
			return fmt.Errorf("hosts: %q and %q are no name and its address", name, at)
		}
		n.hosts[name] = p
	}
	for name := range f.Postures {
		if !strings.HasPrefix(name, "posture:") {
			return fmt.Errorf("postures: %q does not begin with posture:", name)
		}
	}
	for name := range f.IPSets {
		if err := n.readSet(name, f.IPSets, nil); err != nil {
			return err
		}
	}
	for tag, owners := range f.TagOwners {
		if !tagName.MatchString(tag) {
			return fmt.Errorf("tagOwners: %q is no tag", tag)
		}
		if _, err := n.selectors(owners, owner); err != nil {
			return fmt.Errorf("tagOwners: %w", err)
		}
	}
	return nil
}

// readSet works an ipset's lines off in their order. open are the sets that wait for this one: a set cannot hold itself.
func (n *names) readSet(name string, all map[string][]string, open []string) error {
	if _, done := n.sets[name]; done {
		return nil
	}
	lines, ok := all[name]
	if !strings.HasPrefix(name, "ipset:") || !ok {
		return fmt.Errorf("ipset not found: %q", name)
	}
	if slices.Contains(open, name) {
		return fmt.Errorf("ipsets: %q holds itself", name)
	}
	var b netipx.IPSetBuilder
	out := selector{kind: setKind, text: name}
	for _, line := range lines {
		op, what, spaced := strings.Cut(line, " ")
		if !spaced {
			op, what = "add", line
		}
		if strings.HasPrefix(what, "ipset:") {
			if err := n.readSet(what, all, append(open, name)); err != nil {
				return err
			}
		}
		ips, err := n.setMember(what)
		switch {
		case err != nil:
			return fmt.Errorf("ipsets: %s: %w", name, err)
		case op == "add":
			b.AddSet(ips.ips)
			out.exits = out.exits || ips.exits
		case op == "remove":
			b.RemoveSet(ips.ips)
		default:
			return fmt.Errorf("ipsets: %s: %q neither adds nor removes", name, line)
		}
	}
	out.ips, _ = b.IPSet()
	n.sets[name] = out
	return nil
}

// setMember is what a line of an ipset may name: addresses, a range, a host, the internet or another set; no tags, users or groups.
func (n *names) setMember(what string) (selector, error) {
	if r, err := netipx.ParseIPRange(what); err == nil {
		return selector{ips: setOf(r.Prefixes()...)}, nil
	}
	if name, isHost := strings.CutPrefix(what, "host:"); isHost {
		if _, known := n.hosts[name]; !known {
			return selector{}, fmt.Errorf("host not found: %q", name)
		}
		what = name
	}
	sel, err := n.parse(what)
	if err == nil && sel.ips == nil {
		err = fmt.Errorf("%q has no addresses of its own", what)
	}
	return sel, err
}
