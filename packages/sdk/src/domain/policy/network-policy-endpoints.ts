import { parseAddress } from '@bifrost/types/core';
import { CLUSTER_DNS, type NetworkPolicyEndpoint, RELAY_PORTS } from './network-policies.ts';
import type { Relay } from './relays.ts';

/** Of a Kubernetes Service what tells where its packets end. */
export interface ServiceShape {
  /** Its own; none of a headless one. */
  readonly addresses: readonly string[];
  /** Labels of the pods behind it; empty when somebody else says who is. */
  readonly selector: Readonly<Record<string, string>>;
  readonly ports: readonly {
    readonly protocol: 'tcp' | 'udp';
    readonly port: number;
    /** Of the pods: a number, or the name that they give it. */
    readonly targetPort: number | string;
  }[];
}

/** A name inside of the cluster. */
export interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

/** Where kubeadm, kind and most clouds have cluster DNS. */
export const DNS_SERVICE: ServiceName = { namespace: 'kube-system', name: 'kube-dns' };

const NAMESPACE_LABEL = 'kubernetes.io/metadata.name';

/** Its pods by their labels and ports, and its own addresses by its own: some network plugins judge a packet before its address is replaced. */
export function endpointsOfService({ namespace }: ServiceName, { addresses, selector, ports }: ServiceShape): readonly NetworkPolicyEndpoint[] {
  const pods: NetworkPolicyEndpoint = {
    at: [{ kind: 'pods', namespaceLabels: { [NAMESPACE_LABEL]: namespace }, podLabels: selector }],
    ports: ports.map(({ protocol, targetPort }) => ({ protocol, port: targetPort })),
  };
  const own: NetworkPolicyEndpoint = { at: [{ kind: 'networks', networks: addresses }], ports };
  return [...(Object.keys(selector).length === 0 ? [] : [pods]), ...(addresses.length === 0 ? [] : [own])];
}

/** Cluster DNS: what its Service says; {@link CLUSTER_DNS} where there is none. */
export function dnsEndpoints(service: ServiceShape | undefined): readonly NetworkPolicyEndpoint[] {
  const told = service === undefined ? [] : endpointsOfService(DNS_SERVICE, service);
  return told.length === 0 ? [CLUSTER_DNS] : told;
}

/** The Service that a URL of the cluster names: `https://NAME.NAMESPACE.svc…`. Undefined: it names none. */
export function serviceOfUrl(url: string): ServiceName | undefined {
  const [, name, namespace] = /^([a-z0-9-]+)\.([a-z0-9-]+)\.svc(?:\.|$)/.exec(new URL(url).hostname) ?? [];
  return name === undefined || namespace === undefined ? undefined : { namespace, name };
}

/**
 * What answers behind a URL. A Service of the cluster: its pods (where it cannot be read, all of its namespace, at the URL's port). An address: that. The
 * pod's own loopback: nothing. Any other name: whatever is not the cluster's.
 */
export function urlEndpoints(url: string, service?: ServiceShape): readonly NetworkPolicyEndpoint[] {
  const { hostname, port, protocol } = new URL(url);
  const ports = [{ protocol: 'tcp' as const, port: port === '' ? (protocol === 'http:' ? 80 : 443) : Number(port) }];
  const host = hostname.replace(/^\[|\]$/g, '');
  const name = serviceOfUrl(url);
  if (name !== undefined) {
    const told = service === undefined ? [] : endpointsOfService(name, service);
    if (told.length > 0) return told;
    return [{ at: [{ kind: 'pods', namespaceLabels: { [NAMESPACE_LABEL]: name.namespace }, podLabels: {} }], ports }];
  }
  if (host === 'localhost' || host === '::1' || host.startsWith('127.')) return [];
  return [{ at: [parseAddress(host) === undefined ? { kind: 'outside' } : { kind: 'networks', networks: [host] }], ports }];
}

/** Tailscale's own control servers are known by name alone. */
export const controlEndpoints = (loginServer: string | undefined): readonly NetworkPolicyEndpoint[] =>
  loginServer === undefined ? [{ at: [{ kind: 'outside' }], ports: [{ protocol: 'tcp', port: 443 }] }] : urlEndpoints(loginServer);

/** Where no relay is known. */
export const RELAYS_OUTSIDE: readonly NetworkPolicyEndpoint[] = [{ at: [{ kind: 'outside' }], ports: RELAY_PORTS }];

/** One that has no address in the map is known by name alone. */
export const relayEndpoints = (relays: readonly Relay[]): readonly NetworkPolicyEndpoint[] =>
  relays.length === 0
    ? RELAYS_OUTSIDE
    : relays.map(({ addresses, port, stunPort }) => ({
        at: [addresses.length === 0 ? { kind: 'outside' } : { kind: 'networks', networks: addresses }],
        ports: [
          ...(port === undefined ? [] : [{ protocol: 'tcp' as const, port }]),
          ...(stunPort === undefined ? [] : [{ protocol: 'udp' as const, port: stunPort }]),
        ],
      }));
