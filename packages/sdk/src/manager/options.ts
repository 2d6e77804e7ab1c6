import { issueWords } from '@bifrost/types';
import { BifrostError, type Issue, parseCidr, TENANCIES, type Tenancy } from '@bifrost/types/core';
import { z } from 'zod';
import { DEFAULT_THRESHOLDS, type Thresholds } from '../domain/connectivity.ts';
import type { ClusterRanges } from '../domain/model.ts';
import type { AuditSink, Clock, Cluster, ControlPlane, Logger, Store } from '../ports/index.ts';
import {
  type NetworkPolicyEndpoints,
  type NetworkPolicyUse,
  networkPolicyEndpointsSchema,
  networkPolicyUseSchema,
} from './network-policy-options.ts';

/** What a manager is made of. Only `cluster`, `store`, `controlPlane`, `images` and `ingest` are needed. */
export interface NetworkManagerOptions {
  readonly cluster: Cluster;
  readonly store: Store;
  readonly controlPlane: ControlPlane;
  /** Where calls that change something, and refusals, are recorded. Default: nowhere. */
  readonly audit?: AuditSink;
  /** Default: silent. */
  readonly logger?: Logger;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Images of the sidecar, each pinned by digest (`NAME@sha256:…`). `tailscale` also holds iproute2. */
  readonly images: { readonly tailscale: string; readonly agent: string };
  /** Where agents send reports. `caBundle` (PEM) is handed to them with each attachment; https, or http on loopback. */
  readonly ingest: { readonly url: string; readonly caBundle?: string };
  /** Of tailnets that do not say. @default 'customer-owned' */
  readonly tenancy?: Tenancy;
  /** Secret, in the namespace of credentials, with `client_id` and `client_secret` of the tailnet that customers of tenancy `shared` are in. Needed for it. */
  readonly sharedCredentialSecretName?: string;
  /** Namespace of credentials. @default 'bifrost' */
  readonly systemNamespace?: string;
  /** Control server of the Tailscale clients. Default: Tailscale's own. */
  readonly loginServer?: string;
  /** Tags of the devices of books, but in tailnets that customers share; the customer's credential must own them. @default ['tag:bifrost-book'] */
  readonly deviceTags?: readonly string[];
  /** Tag of routers in tailnets that we make. @default 'tag:bifrost-router' */
  readonly routerTag?: string;
  /** Attributes that the policies we keep give to every book's devices (`nodeAttrs`), as Tailscale names them: `randomize-client-port`. @default [] */
  readonly nodeAttributes?: readonly string[];
  /** Milliseconds between an agent's reports when nothing changes. @default 10000 */
  readonly heartbeatMs?: number;
  /** Silence after which an instance is unknown, milliseconds. @default 35000 */
  readonly silenceMs?: number;
  /** Time from attach to the first connection, milliseconds; later the sidecar has failed. @default 300000 */
  readonly attachDeadlineMs?: number;
  /** Life of an attachment's key, seconds; it is renewed after two thirds. @default 7776000 */
  readonly keyLifetimeSeconds?: number;
  /** How often everything is looked at again, milliseconds. @default 60000 */
  readonly resyncMs?: number;
  /** Objects worked on at once. @default 16 */
  readonly concurrency?: number;
  /** Ranges of the cluster, when the cluster cannot tell them itself. */
  readonly clusterRanges?: ClusterRanges;
  readonly thresholds?: Partial<Thresholds>;
  /** The cluster's network plugin enforces NetworkPolicy: only then a policy can stand in for the guard that userspace sidecars lack. @default false */
  readonly networkPolicyEnforced?: boolean;
  /**
   * NetworkPolicies of our own for books with a sidecar. `plan`: plans show them and what they would cut, and nothing is written. `enforce`: they are written
   * before the sidecar goes in, kept, and taken away with it; what they do not name, the book cannot reach in clear any more. With `networkPolicyEnforced`
   * they are then what stands in for the guard in userspace mode. @default 'off' */
  readonly networkPolicies?: NetworkPolicyUse;
  /** Where DNS, ingest, control server and relays answer, for those policies, where what is found out is not right. */
  readonly networkPolicyEndpoints?: NetworkPolicyEndpoints;
  /** How long a registration of `injectSidecar` waits for its workload, milliseconds. @default 3600000 */
  readonly registrationMs?: number;
  /** Within this time drift by the same field manager is put right once, milliseconds. @default 3600000 */
  readonly driftWindowMs?: number;
  /** Connectivity events that are kept, so that a reader whose stream broke can go on where it was. @default 10000 */
  readonly retainedEvents?: number;
  /** Starts in read-only mode: see `NetworkManager.setReadOnly`. @default false */
  readonly readOnly?: boolean;
  /** Entries of ours in a tailnet's policy that somebody has changed are put right; else they are only told of (`policy:drifted`). @default true */
  readonly repairPolicy?: boolean;
  /** Where `updateTailnet` would take away a larger share than this of the peers in use, wholly, it needs `confirm`. 0 to 1; with 1 never. @default 0.5 */
  readonly confirmLossShare?: number;
  /** How often isolation is proven, milliseconds; what is found is told (`isolation:violated`). 0: only when asked. @default 300000 */
  readonly proofIntervalMs?: number;
}

/** Every setting with its value. */
export interface Settings {
  readonly images: { readonly tailscale: string; readonly agent: string };
  readonly ingest: { readonly url: string; readonly caBundle?: string | undefined };
  readonly tenancy: Tenancy;
  readonly sharedCredentialSecretName?: string | undefined;
  readonly systemNamespace: string;
  readonly loginServer?: string | undefined;
  readonly deviceTags: readonly string[];
  readonly routerTag: string;
  readonly nodeAttributes: readonly string[];
  readonly heartbeatMs: number;
  readonly silenceMs: number;
  readonly attachDeadlineMs: number;
  readonly keyLifetimeSeconds: number;
  readonly resyncMs: number;
  readonly concurrency: number;
  readonly clusterRanges?: ClusterRanges | undefined;
  readonly thresholds: Thresholds;
  readonly networkPolicyEnforced: boolean;
  readonly networkPolicies: NetworkPolicyUse;
  readonly networkPolicyEndpoints: {
    readonly [Place in keyof NetworkPolicyEndpoints]?: NetworkPolicyEndpoints[Place] | undefined;
  };
  readonly registrationMs: number;
  readonly driftWindowMs: number;
  readonly retainedEvents: number;
  readonly readOnly: boolean;
  readonly repairPolicy: boolean;
  readonly confirmLossShare: number;
  readonly proofIntervalMs: number;
}

const image = z.string().regex(/^\S+@sha256:[0-9a-f]{64}$/, 'pin the image by digest: NAME@sha256:…');
const tag = z.string().regex(/^tag:[a-zA-Z][a-zA-Z0-9-]*$/, 'must look like tag:name');
const cidrs = z.array(z.string().refine((text) => parseCidr(text) !== undefined, 'must be a range such as 10.244.0.0/16'));
/** Of a URL's `hostname`. */
export const isLoopback = (host: string): boolean => host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
const ingestUrl = z.url({ protocol: /^https?$/ }).refine((value) => {
  const url = URL.parse(value); // null for what the check before has refused already
  return url === null || url.protocol === 'https:' || isLoopback(url.hostname);
}, 'must be https (http is for loopback only)');

const schema = z.object({
  images: z.object({ tailscale: image, agent: image }),
  ingest: z.object({ url: ingestUrl, caBundle: z.string().optional() }),
  tenancy: z.enum(TENANCIES).default('customer-owned'),
  sharedCredentialSecretName: z
    .string()
    .max(253)
    .regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/)
    .optional(),
  systemNamespace: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)
    .default('bifrost'),
  loginServer: z
    .url({ protocol: /^https?$/ })
    .regex(/^\S+$/)
    .optional(),
  deviceTags: z.array(tag).min(1).default(['tag:bifrost-book']),
  routerTag: tag.default('tag:bifrost-router'),
  nodeAttributes: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9:._/-]{0,127}$/, 'must look like randomize-client-port'))
    .max(64)
    .default([]),
  heartbeatMs: z.int().min(100).max(300_000).default(10_000),
  silenceMs: z.int().min(200).max(3_600_000).default(35_000),
  attachDeadlineMs: z.int().min(1_000).default(300_000),
  keyLifetimeSeconds: z.int().min(300).max(7_776_000).default(7_776_000),
  resyncMs: z.int().min(1_000).default(60_000),
  concurrency: z.int().min(1).max(256).default(16),
  clusterRanges: z.object({ pods: cidrs, services: cidrs, nodes: cidrs }).optional(),
  thresholds: z
    .object({ slowMs: z.number().positive(), keyExpiryMs: z.number().nonnegative(), patience: z.int().min(1) })
    .partial()
    .strict()
    .transform(
      ({ slowMs, keyExpiryMs, patience }): Thresholds => ({
        slowMs: slowMs ?? DEFAULT_THRESHOLDS.slowMs,
        keyExpiryMs: keyExpiryMs ?? DEFAULT_THRESHOLDS.keyExpiryMs,
        patience: patience ?? DEFAULT_THRESHOLDS.patience,
      }),
    )
    .default(DEFAULT_THRESHOLDS),
  networkPolicyEnforced: z.boolean().default(false),
  networkPolicies: networkPolicyUseSchema,
  networkPolicyEndpoints: networkPolicyEndpointsSchema,
  registrationMs: z.int().min(1_000).default(3_600_000),
  driftWindowMs: z.int().min(0).default(3_600_000),
  retainedEvents: z.int().min(1).max(1_000_000).default(10_000),
  readOnly: z.boolean().default(false),
  repairPolicy: z.boolean().default(true),
  confirmLossShare: z.number().min(0).max(1).default(0.5),
  proofIntervalMs: z
    .int()
    .max(86_400_000)
    .refine((value) => value === 0 || value >= 1_000, 'must be 0, or at least 1000')
    .default(300_000),
});

const PORTS = ['cluster', 'store', 'controlPlane'] as const;
const KNOWN: ReadonlySet<string> = new Set([...Object.keys(schema.shape), ...PORTS, 'audit', 'logger', 'clock']);

function issuesOf(options: NetworkManagerOptions, parsed: ReturnType<typeof schema.safeParse>): Issue[] {
  const issues = parsed.success ? [] : parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
  // A misspelt option must not vanish.
  for (const name of Object.keys(options)) if (!KNOWN.has(name)) issues.push({ path: name.slice(0, 64), message: 'is not an option here' });
  for (const port of PORTS) if (options[port] === undefined) issues.push({ path: port, message: 'is needed' });
  if (parsed.success && parsed.data.silenceMs <= parsed.data.heartbeatMs) {
    issues.push({ path: 'silenceMs', message: 'must be longer than heartbeatMs, or every instance would be unknown between reports' });
  }
  if (parsed.success && parsed.data.tenancy === 'shared' && parsed.data.sharedCredentialSecretName === undefined) {
    issues.push({ path: 'sharedCredentialSecretName', message: 'is needed for the tenancy shared' });
  }
  return [...new Map(issues.toReversed().map((issue) => [issue.path, issue])).values()].reverse(); // the first of each field
}

/** Checks everything at once; the caller's object is not changed. @throws {BifrostError} `INVALID_OPTIONS`, one issue per wrong field */
export function resolveSettings(options: NetworkManagerOptions): Settings {
  const given = options ?? {};
  const parsed = schema.safeParse(given, { error: issueWords });
  const issues = issuesOf(given, parsed);
  if (!parsed.success || issues.length > 0) {
    throw new BifrostError({ code: 'INVALID_OPTIONS', message: 'The options of the manager are not valid; see issues.', issues });
  }
  return Object.freeze(parsed.data);
}
