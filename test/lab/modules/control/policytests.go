package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

type testText struct {
	Src, User, Proto    string
	Accept, Allow, Deny []string
	SrcPostureAttrs     map[string]any
}
type sshTestText struct {
	Src                      string
	Dst, Accept, Deny, Check []string
	SrcPostureAttrs          map[string]any
}

// party is one end of a packet that a test thinks of: whoever the selector means, whether or not such a device has joined.
type party struct {
	sel     selector
	device  *device // who has the address, when it is one
	outside bool    // an address neither of the tailnet nor behind a router: as a source, * does not mean it
}

// test is one entry of the policy's `tests`.
type test struct {
	src          selector
	proto        []int
	shownProto   string
	accept, deny []testTarget
}
type testTarget struct {
	text string
	sel  selector
	port uint16
}

type sshTest struct {
	src                 selector
	dst                 []selector
	accept, deny, check []string
}

// testFailure is one entry of `data` in the answer to a policy whose tests fail.
type testFailure struct {
	User   string   `json:"user"`
	Errors []string `json:"errors"`
}

func (p *policy) readTests(f *policyText) (err error) {
	p.tests, err = p.names.tests(f.Tests)
	return err
}

func (n *names) tests(texts []testText) (out []test, err error) {
	for _, t := range texts {
		src, accept := t.Src+t.User, append(t.Accept, t.Allow...)
		switch {
		case src == "":
			return nil, errors.New("tests: src must be one identity")
		case len(accept)+len(t.Deny) == 0:
			return nil, errors.New(`tests: an entry must have at least one of "accept" or "deny"`)
		}
		e := test{shownProto: t.Proto}
		if e.src, err = n.selector(src, testSrc); err != nil {
			return nil, fmt.Errorf("tests: %w", err)
		}
		switch e.proto, err = protocol(t.Proto); {
		case err != nil:
			return nil, fmt.Errorf("tests: %w", err)
		case e.proto == nil:
			e.proto = []int{6, 17}
		case !slices.Contains(withPorts, e.proto[0]):
			return nil, errors.New("tests: the protocol must be tcp, udp, sctp or empty")
		}
		if e.accept, err = n.testTargets(accept); err == nil {
			e.deny, err = n.testTargets(t.Deny)
		}
		if err != nil {
			return nil, fmt.Errorf("tests: %w", err)
		}
		out = append(out, e)
	}
	return out, nil
}

// testTargets reads host:port: one host, which may not even be a CIDR of one address, and one port.
func (n *names) testTargets(texts []string) (out []testTarget, err error) {
	for _, text := range texts {
		host, ports, err := hostPorts(text, "")
		if err != nil {
			return nil, err
		}
		if len(ports) != 1 || ports[0].ports.First != ports[0].ports.Last {
			return nil, fmt.Errorf("%q: the port must be a single one", text)
		}
		sel, err := n.selector(host, testDst)
		if err != nil {
			return nil, err
		}
		if _, single := addressOf(sel); sel.kind == hostKind && (!single || strings.Contains(host, "/")) {
			return nil, fmt.Errorf("%q: the destination must be a single host, not a CIDR range", text)
		}
		out = append(out, testTarget{text, sel, ports[0].ports.First})
	}
	return out, nil
}

func addressOf(sel selector) (netip.Addr, bool) {
	if sel.kind != hostKind || len(sel.ips.Prefixes()) != 1 || !sel.ips.Prefixes()[0].IsSingleIP() {
		return netip.Addr{}, false
	}
	return sel.ips.Prefixes()[0].Addr(), true
}

func (p *policy) readSSHTests(f *policyText) error {
	for _, t := range f.SSHTests {
		if t.Src == "" || len(t.Dst) == 0 || len(t.Accept)+len(t.Deny)+len(t.Check) == 0 {
			return errors.New("sshTests: src, dst and one of accept, deny and check must be specified")
		}
		src, err := p.names.selector(t.Src, testSrc)
		if err != nil {
			return fmt.Errorf("sshTests: %w", err)
		}
		dst, err := p.names.selectors(t.Dst, testDst)
		if err != nil {
			return fmt.Errorf("sshTests: %w", err)
		}
		p.sshTests = append(p.sshTests, sshTest{src, dst, t.Accept, t.Deny, t.Check})
	}
	return nil
}

// each is the parties that a selector of a test stands for: of a group every user, of all else itself.
func each(sel selector, devices []*device) (out []party) {
	if sel.kind == userKind {
		for _, user := range sel.users {
			out = append(out, party{sel: selector{kind: userKind, text: user, users: []string{user}}})
		}
		return out
	}
	at := party{sel: sel}
	if sel.kind == hostKind {
		at.outside = !slices.ContainsFunc(sel.ips.Prefixes(), func(p netip.Prefix) bool {
			known := slices.Clone(tailnetV)
			for _, d := range devices {
				known = append(known, d.routes...)
			}
			return slices.ContainsFunc(known, func(k netip.Prefix) bool { return !isExit(k) && k.Overlaps(p) })
		})
	}
	if address, ok := addressOf(sel); ok {
		if i := slices.IndexFunc(devices, func(d *device) bool { return d.has(address) }); i >= 0 {
			at.device = devices[i]
		}
	}
	return append(out, at)
}

// means says whether a rule's selector speaks of the party.
func (sel selector) means(p party) bool {
	if sel.kind == everyone && !p.outside || sel.kind == anywhere || p.device != nil && p.device.is(sel) {
		return true
	}
	switch p.sel.kind {
	case tagKind:
		wholeTailnet := sel.ips != nil && sel.ips.ContainsPrefix(tailnetV[0])
		return sel.kind == tagged || sel.kind == tagKind && sel.text == p.sel.text || wholeTailnet
	case userKind:
		return sel.kind == member || slices.Contains(sel.users, p.sel.users[0])
	case tagged, member, roleKind:
		return sel.kind == p.sel.kind && (sel.kind != roleKind || sel.text == p.sel.text)
	case hostKind:
		return sel.ips != nil && !slices.ContainsFunc(p.sel.ips.Prefixes(), func(q netip.Prefix) bool { return !sel.ips.ContainsPrefix(q) })
	}
	return false
}

// leads says whether one of the rule's ends is the party; ofSrc is who autogroup:self would be.
func leads(ends []selector, p, ofSrc party) bool {
	return slices.ContainsFunc(ends, func(sel selector) bool {
		isOwn := sel.kind == self && ofSrc.sel.kind == userKind && (p.sel.kind == self || slices.Equal(p.sel.users, ofSrc.sel.users))
		return isOwn || sel.means(p)
	})
}

func (p *policy) allows(src, dst party, proto []int, port uint16) bool {
	dst.outside = false
	return p.open || slices.ContainsFunc(p.rules, func(r rule) bool {
		return !r.bound && leads(r.src, src, src) && leads(r.dst, dst, src) && slices.ContainsFunc(r.ports, func(s portSpec) bool { return s.allows(proto, port) })
	})
}

// run tells what of the tests the policy does not meet: accepted is what each of src reaches, denied what none of them does.
func (p *policy) run(tests []test, devices []*device) (failed []testFailure) {
	for _, t := range tests {
		f := testFailure{User: t.src.text}
		suffix := ""
		if t.shownProto != "" {
			suffix = " (" + t.shownProto + ")"
		}
		check := func(targets []testTarget, want, got string, isWrong func(reached, all int) bool) {
			for _, to := range targets {
				reached, all := 0, 0
				for _, src := range each(t.src, devices) {
					for _, dst := range each(to.sel, devices) {
						if all++; p.allows(src, dst, t.proto, to.port) {
							reached++
						}
					}
				}
				if isWrong(reached, all) {
					f.Errors = append(f.Errors, fmt.Sprintf("address %q%s: want: %s, got: %s", to.text, suffix, want, got))
				}
			}
		}
		check(t.accept, "Accept", "Drop", func(reached, all int) bool { return reached < all || all == 0 })
		check(t.deny, "Drop", "Accept", func(reached, _ int) bool { return reached > 0 })
		if f.Errors != nil {
			failed = append(failed, f)
		}
	}
	return failed
}

func (r sshRule) lets(user string) bool {
	return slices.Contains(r.users, user) || user != "root" && slices.Contains(r.users, "autogroup:nonroot")
}

// runSSH does the same for sshTests. accept is met by a rule of either action, check by one that checks.
func (p *policy) runSSH(devices []*device) (failed []testFailure) {
	for _, t := range p.sshTests {
		f := testFailure{User: t.src.text}
		way := func(src, dst party, user string) string {
			for _, r := range p.ssh {
				if !r.bound && leads(r.src, src, src) && leads(r.dst, dst, src) && r.lets(user) {
					return map[bool]string{false: "Accept", true: "Check"}[r.check]
				}
			}
			return "Drop"
		}
		check := func(users []string, want string, isMet func(got string) bool) {
			for _, user := range users {
				for _, to := range t.dst {
					for _, src := range each(t.src, devices) {
						for _, dst := range each(to, devices) {
							if got := way(src, dst, user); !isMet(got) {
								f.Errors = append(f.Errors, fmt.Sprintf("user %q at %q: want: %s, got: %s", user, to.text, want, got))
							}
						}
					}
				}
			}
		}
		check(t.accept, "Accept", func(got string) bool { return got != "Drop" })
		check(t.deny, "Drop", func(got string) bool { return got == "Drop" })
		check(t.check, "Check", func(got string) bool { return got == "Check" })
		if f.Errors != nil {
			failed = append(failed, f)
		}
	}
	return failed
}
