package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"tailscale.com/tailcfg"
)

var sshUser = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9._-]*$|^localpart:\*@[^@ ]+$|^autogroup:nonroot$`)

func (p *policy) readSSH(f *policyText) error {
	const longest = 168 * time.Hour
	for _, t := range f.SSH {
		r := sshRule{check: t.Action == "check", users: t.Users, environment: t.AcceptEnv}
		var err [3]error
		r.src, err[0] = p.names.selectors(t.Src, sshSrc)
		r.dst, err[1] = p.names.selectors(t.Dst, sshDst)
		r.bound, err[2] = p.bound(t.SrcPosture)
		if err := errors.Join(err[:]...); err != nil {
			return fmt.Errorf("ssh: %w", err)
		}
		period, periodErr := time.ParseDuration(t.CheckPeriod)
		hasMachines := slices.ContainsFunc(r.src, func(s selector) bool { return s.kind&(tagKind|tagged) != 0 })
		switch {
		case t.Action != "accept" && t.Action != "check":
			return fmt.Errorf("ssh: %q is not a valid action", t.Action)
		case len(t.Src) == 0 || len(t.Dst) == 0 || len(t.Users) == 0:
			return errors.New("ssh: src, dst and users must be specified")
		case slices.ContainsFunc(t.Users, func(u string) bool { return !sshUser.MatchString(u) }):
			return errors.New("ssh: a user is not valid")
		case r.check && hasMachines:
			return errors.New(`ssh: "check" action does not support tags in src`)
		case hasMachines && slices.ContainsFunc(r.dst, func(s selector) bool { return s.kind&(self|member|userKind) != 0 }):
			return errors.New("ssh: tags in src cannot access users' devices")
		case t.CheckPeriod != "" && (!r.check || t.CheckPeriod != "always" && (periodErr != nil || period < 0 || period > longest)):
			return errors.New("ssh: checkPeriod is a duration up to 168h, or always, and of check alone")
		}
		p.ssh = append(p.ssh, r)
	}
	return nil
}

func (p *policy) readAttrs(f *policyText) error {
	for _, t := range f.NodeAttrs {
		to, err := p.names.selectors(t.Target, target)
		if err != nil {
			return fmt.Errorf("nodeAttrs: %w", err)
		}
		a := nodeAttr{target: to, caps: tailcfg.NodeCapMap{}}
		for _, attr := range t.Attr {
			if attr == "" {
				return errors.New("nodeAttrs: an attr is empty")
			}
			a.caps[tailcfg.NodeCapability(attr)] = nil
		}
		for name, values := range t.App {
			a.caps[tailcfg.NodeCapability(name)] = values
		}
		p.attrs = append(p.attrs, a)
	}
	return nil
}

func (p *policy) readApprovers(f *policyText) (err error) {
	for route, by := range f.AutoApprovers.Routes {
		within, ok := prefixOf(route)
		if !ok {
			return fmt.Errorf("autoApprovers.routes: %q is no CIDR", route)
		}
		who, err := p.names.selectors(by, approver)
		if err != nil {
			return fmt.Errorf("autoApprovers.routes: %w", err)
		}
		p.approvers = append(p.approvers, routeApprover{within, who})
	}
	for service, by := range f.AutoApprovers.Services {
		if sel, err := p.names.parse(service); err != nil || sel.kind&(serviceKd|tagKind) == 0 {
			return fmt.Errorf("autoApprovers.services: %q is no service", service)
		}
		if _, err := p.names.selectors(by, approver); err != nil {
			return fmt.Errorf("autoApprovers.services: %w", err)
		}
	}
	if p.exits, err = p.names.selectors(f.AutoApprovers.ExitNode, approver); err != nil {
		return fmt.Errorf("autoApprovers.exitNode: %w", err)
	}
	return nil
}
