package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tailscale.com/tailcfg"
)

var protocols = map[string][]int{"": nil, "icmp": {1, 58}, "igmp": {2}, "ipv4": {4}, "ip-in-ip": {4}, "tcp": {6}, "egp": {8}, "igp": {9}, "udp": {17},
	"gre": {47}, "esp": {50}, "ah": {51}, "ipv6-icmp": {58}, "sctp": {132}}

// withPorts are the protocols that have ports.
var withPorts = []int{6, 17, 132}

func protocol(name string) ([]int, error) {
	if numbers, ok := protocols[name]; ok {
		return numbers, nil
	}
	if n, err := strconv.ParseUint(name, 10, 8); err == nil && strconv.FormatUint(n, 10) == name {
		return []int{int(n)}, nil
	}
	return nil, fmt.Errorf("unknown protocol %q", name)
}

// parsePorts reads a grant's ip: "*", "443", "80-90", "tcp:443", "udp:*", "icmp:*".
func parsePorts(s string) (portSpec, error) {
	name, ports, hasProtocol := strings.Cut(s, ":")
	if !hasProtocol {
		name, ports = "", s
	} else if name == "" {
		return portSpec{}, fmt.Errorf("%q lacks a protocol", s)
	}
	return portsOf(name, ports)
}

// portsOf reads one port, a range of them or all.
func portsOf(proto, ports string) (portSpec, error) {
	numbers, err := protocol(proto)
	if err != nil {
		return portSpec{}, err
	}
	out := portSpec{proto: numbers, ports: tailcfg.PortRangeAny}
	if ports == "*" {
		return out, nil
	}
	if slices.ContainsFunc(numbers, func(n int) bool { return !slices.Contains(withPorts, n) }) {
		return out, fmt.Errorf("protocol %q has no ports: use *", proto)
	}
	lo, hi, ranged := strings.Cut(ports, "-")
	if !ranged {
		hi = lo
	}
	first, err1 := strconv.ParseUint(lo, 10, 16)
	last, err2 := strconv.ParseUint(hi, 10, 16)
	if err1 != nil || err2 != nil || last < first {
		return out, fmt.Errorf("bad port %q", ports)
	}
	out.ports = tailcfg.PortRange{First: uint16(first), Last: uint16(last)}
	return out, nil
}

// hostPorts splits the older form host:ports, where ports are a list.
func hostPorts(text, proto string) (host string, out []portSpec, err error) {
	i := strings.LastIndex(text, ":")
	if i < 1 {
		return "", nil, fmt.Errorf("%q lacks a port", text)
	}
	for _, ports := range strings.Split(text[i+1:], ",") {
		spec, err := portsOf(proto, ports)
		if err != nil {
			return "", nil, err
		}
		out = append(out, spec)
	}
	return text[:i], out, nil
}

// allows says whether a packet of one of the protocols may go to the port.
func (p portSpec) allows(proto []int, port uint16) bool {
	of := p.proto == nil || slices.ContainsFunc(proto, func(n int) bool { return slices.Contains(p.proto, n) })
	return of && p.ports.Contains(port)
}
