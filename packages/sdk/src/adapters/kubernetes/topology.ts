import { isIP } from 'node:net';
import { BoundedMap } from '../../domain/bounded-map.ts';
import type { ClusterRanges } from '../../domain/model.ts';
import type { NetworkPolicyShape } from '../../domain/network-policy-shape.ts';
import type { ServiceName, ServiceShape } from '../../domain/policy/network-policy-endpoints.ts';
import type { Topology } from '../../ports/cluster.ts';
import type { CallOptions } from '../../ports/store.ts';
import { type ApiRequest, segment } from './answers.ts';
import type { ApiList, ApiObject } from './api-types.ts';
import type { KubernetesConnection } from './connection.ts';
import { clusterError, isAbsent } from './errors.ts';
import { type NetworkPolicyObject, readShape } from './network-policies.ts';

interface ServiceCidr extends ApiObject {
  readonly spec?: { readonly cidrs?: readonly string[] | null };
}
interface Node extends ApiObject {
  readonly spec?: { readonly podCIDRs?: readonly string[] | null };
  readonly status?: { readonly addresses?: readonly { readonly type: string; readonly address: string }[] | null };
}

interface ServicePort {
  readonly protocol?: string;
  readonly port: number;
  /** 0, or left out: the Service's own. */
  readonly targetPort?: number | string;
}
interface Service extends ApiObject {
  readonly spec?: {
    readonly clusterIPs?: readonly string[] | null;
    readonly selector?: Readonly<Record<string, string>> | null;
    readonly ports?: readonly ServicePort[] | null;
  };
}

/** Nodes come and go; within this time a new one may be missing. So may another Service in the place of one. */
const KNOWN_FOR_MS = 10_000;

/**
 * Ranges from ServiceCIDR objects (Kubernetes 1.33 and later), and from each node's `podCIDRs` and addresses. Network plugins that give pods
 * addresses by their own means leave `podCIDRs` empty: then the ranges cannot be told, and must be given as an option.
 */
export class KubernetesTopology implements Topology {
  readonly #connection: KubernetesConnection;
  readonly #nowMs: () => number;
  #known: { readonly ranges: ClusterRanges; readonly untilMs: number } | undefined;
  /** Only those of cluster DNS and ingest are ever asked for. */
  readonly #services = new BoundedMap<string, { readonly service: ServiceShape | undefined; readonly untilMs: number }>(16);

  constructor(connection: KubernetesConnection, nowMs: () => number) {
    this.#connection = connection;
    this.#nowMs = nowMs;
  }

  async ranges(options: CallOptions): Promise<ClusterRanges | undefined> {
    options.signal.throwIfAborted();
    if (this.#known !== undefined && this.#nowMs() < this.#known.untilMs) return this.#known.ranges;
    const [serviceCidrs, nodes] = await Promise.all([
      this.#list<ServiceCidr>({ operation: 'servicecidrs.list', kind: 'ServiceCIDRList', path: '/apis/networking.k8s.io/v1/servicecidrs' }, options),
      this.#list<Node>({ operation: 'nodes.list', kind: 'NodeList', path: '/api/v1/nodes' }, options),
    ]);
    const ranges = serviceCidrs && nodes && rangesOf(serviceCidrs, nodes);
    if (ranges !== undefined) this.#known = { ranges, untilMs: this.#nowMs() + KNOWN_FOR_MS };
    return ranges;
  }

  async networkPolicies(namespace: string, options: CallOptions): Promise<readonly NetworkPolicyShape[]> {
    options.signal.throwIfAborted();
    const path = `/apis/networking.k8s.io/v1/namespaces/${segment(namespace)}/networkpolicies`;
    const policies = await this.#list<NetworkPolicyObject>({ operation: 'networkpolicies.list', kind: 'NetworkPolicyList', path }, options);
    return (policies ?? []).map(readShape);
  }

  async service(service: ServiceName, options: CallOptions): Promise<ServiceShape | undefined> {
    options.signal.throwIfAborted();
    const path = `/api/v1/namespaces/${segment(service.namespace)}/services/${segment(service.name)}`;
    const known = this.#services.get(path);
    if (known !== undefined && this.#nowMs() < known.untilMs) return known.service;
    const answer = await this.#connection.send<Service>({ operation: 'services.get', kind: 'Service', method: 'GET', path, signal: options.signal });
    if (!answer.ok && !isAbsent(answer.problem)) throw clusterError(answer.problem, `read ${path}`);
    const found = answer.ok ? serviceOf(answer.body) : undefined;
    this.#services.set(path, { service: found, untilMs: this.#nowMs() + KNOWN_FOR_MS });
    return found;
  }

  /** Undefined: the server does not know such objects. */
  async #list<T extends ApiObject>(
    { operation, kind, path }: Pick<ApiRequest, 'operation' | 'kind' | 'path'>,
    { signal }: CallOptions,
  ): Promise<readonly T[] | undefined> {
    const items: T[] = [];
    let next: string | undefined;
    do {
      const answer = await this.#connection.send<ApiList<T>>({
        operation,
        kind,
        method: 'GET',
        path,
        query: { limit: 250, continue: next },
        signal,
      });
      if (!answer.ok && answer.problem.status === 404) return undefined;
      if (!answer.ok) throw clusterError(answer.problem, `list ${path}`);
      items.push(...(answer.body.items ?? []));
      next = answer.body.metadata.continue || undefined;
    } while (next !== undefined);
    return items;
  }
}

function rangesOf(serviceCidrs: readonly ServiceCidr[], nodes: readonly Node[]): ClusterRanges | undefined {
  const services = serviceCidrs.flatMap(({ spec }) => spec?.cidrs ?? []);
  const pods = nodes.map(({ spec }) => spec?.podCIDRs ?? []);
  const addresses = nodes.map(({ status }) => (status?.addresses ?? []).flatMap(({ address }) => hostRange(address)));
  if (services.length === 0 || nodes.length === 0) return undefined;
  if ([...pods, ...addresses].some((ofOneNode) => ofOneNode.length === 0)) return undefined;
  return { pods: distinct(pods.flat()), services: distinct(services), nodes: distinct(addresses.flat()) };
}

/** A protocol that we do not name is none that cluster DNS or ingest speak. */
function serviceOf({ spec }: Service): ServiceShape {
  const ports = (spec?.ports ?? []).flatMap(({ protocol = 'TCP', port, targetPort }) => {
    const word = protocol === 'TCP' ? 'tcp' : protocol === 'UDP' ? 'udp' : undefined;
    return word === undefined ? [] : [{ protocol: word, port, targetPort: targetPort || port } as const];
  });
  return { addresses: (spec?.clusterIPs ?? []).filter((text) => isIP(text) !== 0), selector: spec?.selector ?? {}, ports };
}

function hostRange(address: string): readonly string[] {
  const family = isIP(address); // 0 for a host name
  return family === 0 ? [] : [`${address}/${family === 4 ? 32 : 128}`];
}

const distinct = (values: readonly string[]): readonly string[] => [...new Set(values)].sort();
