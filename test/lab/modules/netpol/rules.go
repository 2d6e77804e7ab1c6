package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

type selector struct {
	MatchLabels      map[string]string
	MatchExpressions []struct {
		Key, Operator string
		Values        []string
	}
}
type peer struct {
	IPBlock *struct {
		CIDR   string
		Except []string
	}
	PodSelector, NamespaceSelector *selector
}
type port struct {
	Protocol string
	Port     json.RawMessage // a number, or a name in quotes
	EndPort  int
}
type rule struct {
	To, From []peer
	Ports    []port
}
type policySpec struct {
	PodSelector     selector
	PolicyTypes     []string
	Ingress, Egress []rule
}
type podSpec struct {
	HostNetwork    bool
	Containers     []container
	InitContainers []container // sidecars among them
}
type container struct {
	Ports []struct {
		Name, Protocol string
		ContainerPort  int
	}
}

type pod = object[podSpec]
type world struct {
	pods       map[string]pod
	namespaces map[string]object[struct{}]
	policies   map[string]object[policySpec]
}

func (s selector) matches(labels map[string]string) bool {
	for key, value := range s.MatchLabels {
		if own, has := labels[key]; !has || own != value {
			return false
		}
	}
	for _, e := range s.MatchExpressions {
		own, has := labels[e.Key]
		among := has && slices.Contains(e.Values, own)
		if fits := map[string]bool{"In": among, "NotIn": !among, "Exists": has, "DoesNotExist": !has}[e.Operator]; !fits {
			return false
		}
	}
	return true
}

// ruleset is the whole table, in place of the one before.
func ruleset(w world) string {
	const table = "table inet bifrost_lab_policies"
	var chains, egress, ingress strings.Builder
	for index, p := range w.running() {
		for _, direction := range []string{"egress", "ingress"} {
			lines, isolated := w.chain(p, direction)
			if !isolated {
				continue
			}
			name := fmt.Sprintf("%s_%d", direction, index)
			fmt.Fprintf(&chains, "  chain %s { # %s\n%s    counter drop\n  }\n", name, p.key(), lines)
			side, into := "saddr", &egress
			if direction == "ingress" {
				side, into = "daddr", &ingress
			}
			fmt.Fprintf(into, "    ip %s %s jump %s\n", side, p.Status.PodIP, name)
		}
	}
	// In a pod's chain `return` is "let"; egress of one and ingress of the other must both let.
	return fmt.Sprintf(`add %[1]s
delete %[1]s
%[1]s {
%[2]s  chain judge {
    ct direction reply accept
    ct state related accept
%[3]s%[4]s  }
  chain input { type filter hook input priority -5; jump judge; }
  chain forward { type filter hook forward priority -5; jump judge; }
}
`, table, chains.String(), egress.String(), ingress.String())
}

// running are the pods with addresses of their own, in the order of their names.
func (w world) running() []pod {
	pods := slices.SortedFunc(maps.Values(w.pods), func(a, b pod) int { return strings.Compare(a.key(), b.key()) })
	return slices.DeleteFunc(pods, func(p pod) bool {
		address, err := netip.ParseAddr(p.Status.PodIP)
		return err != nil || !address.Is4() || p.Spec.HostNetwork || p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed"
	})
}

// chain is what the policies let the pod send (or be sent), and whether any of them speaks of that.
func (w world) chain(p pod, direction string) (lines string, isolated bool) {
	for _, key := range slices.Sorted(maps.Keys(w.policies)) {
		policy := w.policies[key]
		rules, kind := policy.Spec.Egress, "Egress"
		if direction == "ingress" {
			rules, kind = policy.Spec.Ingress, "Ingress"
		}
		if policy.Metadata.Namespace != p.Metadata.Namespace || !slices.Contains(policy.Spec.PolicyTypes, kind) || !policy.Spec.PodSelector.matches(p.Metadata.Labels) {
			continue
		}
		isolated = true
		for _, r := range rules {
			peers, side, to := r.To, "daddr", []pod(nil)
			if direction == "ingress" {
				peers, side, to = r.From, "saddr", []pod{p}
			}
			for _, who := range w.peers(peers, policy.Metadata.Namespace, side) {
				for _, where := range w.ports(r.Ports, to) {
					lines += strings.Join(strings.Fields("    "+who+" "+where+" return"), " ") + "\n"
				}
			}
		}
	}
	return lines, isolated
}

// peers are matches, one of which must fit.
func (w world) peers(peers []peer, namespace, side string) (matches []string) {
	if len(peers) == 0 {
		return []string{""}
	}
	for _, one := range peers {
		if one.IPBlock != nil {
			block, err := netip.ParsePrefix(one.IPBlock.CIDR)
			if err != nil || !block.Addr().Is4() {
				continue // the lab's pods have IPv4 only
			}
			match := fmt.Sprintf("ip %s %s", side, block.Masked())
			for _, except := range one.IPBlock.Except {
				match += fmt.Sprintf(" ip %s != %s", side, netip.MustParsePrefix(except).Masked())
			}
			matches = append(matches, match)
			continue
		}
		for _, p := range w.running() {
			inNamespace := p.Metadata.Namespace == namespace
			if one.NamespaceSelector != nil {
				inNamespace = one.NamespaceSelector.matches(w.namespaces["/"+p.Metadata.Namespace].Metadata.Labels)
			}
			if inNamespace && (one.PodSelector == nil || one.PodSelector.matches(p.Metadata.Labels)) {
				matches = append(matches, fmt.Sprintf("ip %s %s", side, p.Status.PodIP))
			}
		}
	}
	return matches
}

// ports are matches, one of which must fit. A name is a port of the pod that is sent to: of `to`, or of whichever pod has that name.
func (w world) ports(ports []port, to []pod) (matches []string) {
	if len(ports) == 0 {
		return []string{""}
	}
	for _, one := range ports {
		protocol := strings.ToLower(one.Protocol) // the API server writes TCP where none was said
		var name string
		switch {
		case len(one.Port) == 0:
			matches = append(matches, "meta l4proto "+protocol)
		case json.Unmarshal(one.Port, &name) != nil && one.EndPort != 0:
			matches = append(matches, fmt.Sprintf("%s dport %s-%d", protocol, one.Port, one.EndPort))
		case name == "":
			matches = append(matches, fmt.Sprintf("%s dport %s", protocol, one.Port))
		default:
			if to == nil {
				to = w.running()
			}
			for _, p := range to {
				for _, c := range slices.Concat(p.Spec.Containers, p.Spec.InitContainers) {
					for _, declared := range c.Ports {
						if declared.Name == name && declared.Protocol == one.Protocol {
							matches = append(matches, fmt.Sprintf("ip daddr %s %s dport %d", p.Status.PodIP, protocol, declared.ContainerPort))
						}
					}
				}
			}
		}
	}
	return matches
}
