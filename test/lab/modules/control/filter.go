package main

import (
	"net/netip"
	"slices"

	"tailscale.com/tailcfg"
)

// What a policy means for the devices that have joined. Callers hold mu.

func (d *device) has(a netip.Addr) bool {
	return slices.ContainsFunc(d.node.Addresses, func(p netip.Prefix) bool { return p.Contains(a) })
}

// is reports whether the device itself is meant by the selector. Nobody logs in at the lab: users and their roles have no devices.
func (d *device) is(sel selector) bool {
	switch sel.kind {
	case everyone, anywhere:
		return true
	case tagKind:
		return slices.Contains(d.node.Tags, sel.text)
	case tagged:
		return len(d.node.Tags) > 0
	case member:
		return len(d.node.Tags) == 0
	}
	return sel.ips != nil && slices.ContainsFunc(d.node.Addresses, func(p netip.Prefix) bool { return sel.ips.Contains(p.Addr()) })
}

func isExit(route netip.Prefix) bool { return route.Bits() == 0 }

// covers says whether the selector speaks of any part of a route. Exit routes are the internet's, not those of every network in it.
func (sel selector) covers(route netip.Prefix) bool {
	if isExit(route) {
		return sel.exits || sel.kind == everyone
	}
	return sel.kind == everyone || sel.ips != nil && sel.ips.OverlapsPrefix(route)
}

// beyond is what the device may let through to networks behind it, of what the selector names.
func (d *device) beyond(sel selector) (out []netip.Prefix) {
	if sel.ips == nil {
		return nil
	}
	for _, p := range sel.ips.Prefixes() {
		if slices.ContainsFunc(d.routes, func(r netip.Prefix) bool { return sel.covers(r) && p.Overlaps(r) }) {
			out = append(out, p)
		}
	}
	return out
}

// routerFor says whether the device may carry what the rule's dst is behind: with `via` only a router with one of these tags.
func (r rule) routerFor(d *device) bool {
	return len(r.via) == 0 || slices.ContainsFunc(r.via, func(tag string) bool { return slices.Contains(d.node.Tags, tag) })
}

// takes says whether packets of the rule to the selector end at the device, or behind it.
func (r rule) takes(d *device, sel selector) bool {
	return len(r.via) == 0 && d.is(sel) || r.routerFor(d) && len(d.beyond(sel)) > 0
}

// own says whether both devices are one user's: of all that have no tags, as there is one user to a tailnet.
func own(a, b *device) bool { return len(a.node.Tags) == 0 && len(b.node.Tags) == 0 }

// leads says whether the rule lets from, or a network behind it, reach to, or a network behind that.
func (r rule) leads(from, to *device) bool {
	starts := slices.ContainsFunc(r.src, func(sel selector) bool { return from.is(sel) || len(from.beyond(sel)) > 0 })
	return !r.bound && starts && slices.ContainsFunc(r.dst, func(sel selector) bool {
		return r.takes(to, sel) || sel.kind == self && own(from, to)
	})
}

// connected says whether either may reach the other: only such devices see each other.
func (t *tailnet) connected(a, b *device) bool {
	return t.compiled.open || slices.ContainsFunc(t.compiled.rules, func(r rule) bool { return r.leads(a, b) || r.leads(b, a) })
}

// routesTo is what viewer is told to send through peer: routes that some rule lets it use, or lets reach it.
func (t *tailnet) routesTo(viewer, peer *device) (out []netip.Prefix) {
	for _, route := range peer.routes {
		covers := func(sel selector) bool { return sel.covers(route) }
		if t.compiled.open || slices.ContainsFunc(t.compiled.rules, func(r rule) bool {
			uses := slices.ContainsFunc(r.src, viewer.is) && r.routerFor(peer) && slices.ContainsFunc(r.dst, covers)
			answers := !isExit(route) && slices.ContainsFunc(r.src, covers) && slices.ContainsFunc(r.dst, func(sel selector) bool { return r.takes(viewer, sel) })
			return !r.bound && (uses || answers)
		}) {
			out = append(out, route)
		}
	}
	return out
}

// sources is a rule's src as addresses.
func (t *tailnet) sources(s *server, sels []selector, fits func(*device) bool) (out []string) {
	for _, sel := range sels {
		switch {
		case sel.kind == anywhere:
			out = append(out, "*")
		case sel.kind == everyone:
			for _, p := range tailnetV {
				out = append(out, p.String())
			}
			for _, d := range s.of(t) {
				for _, r := range d.routes {
					if !isExit(r) {
						out = append(out, r.String())
					}
				}
			}
		case sel.ips != nil:
			for _, p := range sel.ips.Prefixes() {
				out = append(out, p.String())
			}
		default:
			for _, d := range s.of(t) {
				if d.is(sel) && fits(d) {
					for _, a := range d.node.Addresses {
						out = append(out, a.Addr().String())
					}
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// destinations is what of a rule's dst the device lets in, or through.
func (r rule) destinations(d *device) (out []string) {
	for _, sel := range r.dst {
		switch {
		case len(r.via) > 0:
			if r.routerFor(d) {
				for _, p := range d.beyond(sel) {
					out = append(out, p.String())
				}
			}
		case sel.kind == everyone:
			out = append(out, "*")
		case sel.ips != nil:
			for _, p := range sel.ips.Prefixes() {
				if slices.ContainsFunc(d.node.Addresses, p.Overlaps) || slices.Contains(d.beyond(sel), p) {
					out = append(out, p.String())
				}
			}
		case d.is(sel):
			for _, a := range d.node.Addresses {
				out = append(out, a.Addr().String())
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// filterFor is the packet filter of one device: what may reach it, or pass through it.
func (t *tailnet) filterFor(s *server, d *device) []tailcfg.FilterRule {
	if t.compiled.open {
		return tailcfg.FilterAllowAll
	}
	out := []tailcfg.FilterRule{}
	for _, r := range t.compiled.rules {
		if r.bound {
			continue
		}
		out = append(out, r.filters(t.sources(s, r.src, func(p *device) bool { return p != d }), r.destinations(d))...)
		if slices.ContainsFunc(r.dst, func(sel selector) bool { return sel.kind == self }) && own(d, d) {
			mine := rule{dst: []selector{{kind: member}}, ports: r.ports, app: r.app}
			out = append(out, mine.filters(t.sources(s, r.src, func(p *device) bool { return p != d && own(p, d) }), mine.destinations(d))...)
		}
	}
	return out
}

func (r rule) filters(srcs, dsts []string) (out []tailcfg.FilterRule) {
	if len(srcs) == 0 || len(dsts) == 0 {
		return nil
	}
	for _, ps := range r.ports {
		f := tailcfg.FilterRule{SrcIPs: srcs, IPProto: ps.proto}
		for _, ip := range dsts {
			f.DstPorts = append(f.DstPorts, tailcfg.NetPortRange{IP: ip, Ports: ps.ports})
		}
		out = append(out, f)
	}
	if len(r.app) > 0 {
		grant := tailcfg.CapGrant{CapMap: tailcfg.PeerCapMap{}}
		for name, values := range r.app {
			grant.CapMap[tailcfg.PeerCapability(name)] = values
		}
		for _, ip := range dsts {
			if p, ok := prefixOf(ip); ok {
				grant.Dsts = append(grant.Dsts, p)
			} else {
				grant.Dsts = append(grant.Dsts, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"))
			}
		}
		out = append(out, tailcfg.FilterRule{SrcIPs: srcs, CapGrant: []tailcfg.CapGrant{grant}})
	}
	return out
}

// capsOf is what nodeAttrs give the device.
func (t *tailnet) capsOf(d *device) tailcfg.NodeCapMap {
	caps := tailcfg.NodeCapMap{tailcfg.CapabilitySSH: nil}
	if t.compiled.randomize {
		caps[tailcfg.NodeAttrRandomizeClientPort] = nil
	}
	for _, a := range t.compiled.attrs {
		if slices.ContainsFunc(a.target, d.is) {
			for name, values := range a.caps {
				caps[name] = append(caps[name], values...)
			}
		}
	}
	return caps
}

// sshFor is who may log in at the device, and as whom. It is sent even when nobody may: without it the client keeps the last one.
func (t *tailnet) sshFor(s *server, d *device) *tailcfg.SSHPolicy {
	out := &tailcfg.SSHPolicy{Rules: []*tailcfg.SSHRule{}}
	for _, r := range t.compiled.ssh {
		isOwn := slices.ContainsFunc(r.dst, func(sel selector) bool { return sel.kind == self }) && own(d, d)
		if r.bound || !isOwn && !slices.ContainsFunc(r.dst, d.is) {
			continue
		}
		rule := &tailcfg.SSHRule{Action: r.action(), AcceptEnv: r.environment, SSHUsers: map[string]string{}}
		for _, address := range t.sources(s, r.src, func(p *device) bool { return p != d }) {
			rule.Principals = append(rule.Principals, &tailcfg.SSHPrincipal{NodeIP: address})
		}
		for _, user := range r.users {
			if user == "autogroup:nonroot" {
				rule.SSHUsers["*"] = "="
			} else {
				rule.SSHUsers[user] = user
			}
		}
		if !slices.Contains(r.users, "root") {
			rule.SSHUsers["root"] = ""
		}
		if len(rule.Principals) > 0 {
			out.Rules = append(out.Rules, rule)
		}
	}
	return out
}

// action of a check asks the control server over the client protocol, as the real one has it; see sshCheck.
func (r sshRule) action() *tailcfg.SSHAction {
	if r.check {
		return &tailcfg.SSHAction{HoldAndDelegate: "https://unused/machine/ssh/action/from/$SRC_NODE_ID/to/$DST_NODE_ID"}
	}
	return &tailcfg.SSHAction{Accept: true, AllowAgentForwarding: true, AllowLocalPortForwarding: true, AllowRemotePortForwarding: true}
}

// approves says whether the policy lets the device advertise the route without anybody asked.
func (p *policy) approves(d *device, route netip.Prefix) bool {
	if isExit(route) {
		return slices.ContainsFunc(p.exits, d.is)
	}
	return slices.ContainsFunc(p.approvers, func(a routeApprover) bool {
		return a.within.Bits() <= route.Bits() && a.within.Contains(route.Addr()) && slices.ContainsFunc(a.by, d.is)
	})
}

// owns says whether tagOwners knows all of the tags. Clients of the lab own every tag that has an owner.
func (p *policy) owns(tags []string) bool {
	return !slices.ContainsFunc(tags, func(tag string) bool { _, known := p.names.owners[tag]; return !known })
}
