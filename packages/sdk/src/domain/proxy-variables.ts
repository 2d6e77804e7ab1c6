import type { NetworkConfiguration } from '@bifrost/types/core';
import { bookContainers } from './book-containers.ts';
import type { ClusterRanges } from './model.ts';
import { PORTS } from './names.ts';
import type { ContainerAddition, EnvironmentVariable, PodTemplateShape } from './pod-shape.ts';

/** What programs look for, in both spellings: curl takes http_proxy in lower case only, others the upper case only. */
const PROXIES = ['ALL_PROXY', 'HTTP_PROXY', 'HTTPS_PROXY'] as const;
const EXCEPTIONS = 'NO_PROXY';
const spellings = (name: string): readonly string[] => [name, name.toLowerCase()];
/** The variables that userspace mode sets in the book's containers, where no others of these names may be. */
export const PROXY_VARIABLES: readonly string[] = [...PROXIES, EXCEPTIONS].flatMap(spellings);

const FIRST_PORT = 1055; // the port of Tailscale's own documentation

/** A port of the pod's loopback that no container of the template declares and no container of ours has. Containers of a pod share their ports. */
export function freeProxyPort(template: PodTemplateShape): number {
  const taken = new Set<number>(Object.values(PORTS));
  for (const { ports = [] } of bookContainers(template)) for (const { containerPort } of ports) taken.add(containerPort);
  let port = FIRST_PORT;
  while (taken.has(port)) port += 1;
  return port;
}

export interface ProxyInput {
  readonly template: PodTemplateShape;
  readonly network: NetworkConfiguration;
  readonly ranges: ClusterRanges;
  readonly ingestHost: string;
}

/** The proxy's address on the loopback: SOCKS5 and HTTP on one port, as tailscaled tells them apart. */
export const proxyAddress = (template: PodTemplateShape): string => `127.0.0.1:${freeProxyPort(template)}`;

/**
 * What goes past the proxy: the cluster, the pod itself, ingest. Blocked networks too: past the tunnel they meet the NetworkPolicy that denies them,
 * while the proxy would carry them to a router that offers them.
 */
const exceptionsOf = ({ network, ranges, ingestHost }: ProxyInput): string =>
  [
    ...new Set([
      ...['localhost', '127.0.0.1', '::1', '.svc', '.cluster.local', ingestHost],
      ...[...ranges.pods, ...ranges.services, ...ranges.nodes, ...network.blockedNetworks].sort(),
    ]),
  ].join(',');

/** The proxy variables for each of the book's containers. */
export function proxyAdditions(input: ProxyInput): readonly ContainerAddition[] {
  const address = proxyAddress(input.template);
  const values: readonly (readonly [string, string])[] = [
    ...PROXIES.map((name) => [name, `${name === 'ALL_PROXY' ? 'socks5' : 'http'}://${address}`] as const),
    [EXCEPTIONS, exceptionsOf(input)],
  ];
  const env = values.flatMap(([name, value]) => spellings(name).map((spelling): EnvironmentVariable => ({ name: spelling, value })));
  return bookContainers(input.template).map(({ name }) => ({ name, env }));
}
