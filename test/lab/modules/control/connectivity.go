package main

import (
	"strconv"
	"strings"

	"tailscale.com/tailcfg"
)

// connectivityJSON is what the machine's own netcheck found, as it sent it with its Hostinfo; nil before it has. Latency is by the region's name, the
// smaller of both families'. A machine measures it by STUN, so without UDP there is none.
func (d *device) connectivityJSON(derp *tailcfg.DERPMap) map[string]any {
	info := d.node.Hostinfo.NetInfo()
	if !info.Valid() {
		return nil
	}
	latency := map[string]map[string]any{}
	for key, seconds := range info.DERPLatency().All() {
		id, _, _ := strings.Cut(key, "-") // "1-v4"
		number, _ := strconv.Atoi(id)
		region := derp.Regions[number]
		if region == nil {
			continue
		}
		ms := seconds * 1000
		if known, ok := latency[region.RegionName]; ok && known["latencyMs"].(float64) <= ms {
			continue
		}
		latency[region.RegionName] = map[string]any{"latencyMs": ms, "preferred": number == info.PreferredDERP()}
	}
	return map[string]any{"endpoints": d.node.Endpoints, "mappingVariesByDestIP": info.MappingVariesByDestIP(), "latency": latency,
		"clientSupports": map[string]any{"hairPinning": nil, "ipv6": info.WorkingIPv6(), "pcp": info.PCP(), "pmp": info.PMP(), "udp": info.WorkingUDP(), "upnp": info.UPnP()}}
}
