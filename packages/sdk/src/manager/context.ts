import { BifrostError } from '@bifrost/types/core';
import { sidecarConditions, tailnetConditions } from '../domain/conditions.ts';
import type { SidecarSpec, SidecarState, StoredSidecar, StoredTailnet, TailnetState } from '../domain/model.ts';
import type { AuditSink, Clock, Cluster, ControlCredential, ControlPlane, Logger, Store, TailnetControl } from '../ports/index.ts';
import type { Announcer } from './announcer.ts';
import type { ConnectivityHistory } from './connectivity-history.ts';
import type { EventBus } from './event-bus.ts';
import { type GuardOrders, guardCounts } from './guard-orders.ts';
import type { Hindrances } from './hindrances.ts';
import { routerTagOf } from './identities.ts';
import type { Instances } from './instances.ts';
import type { KeyedLock } from './keyed-lock.ts';
import type { KnownRelays } from './known-relays.ts';
import type { Missing } from './missing.ts';
import type { Observed } from './observed.ts';
import type { Settings } from './options.ts';
import type { Outdated } from './outdated.ts';
import type { Policies } from './policies.ts';
import type { ProofDue } from './proof-due.ts';
import type { ToldFindings } from './prove-calls.ts';
import { sameJson } from './same-json.ts';
import type { CallerScope } from './scope.ts';
import { refusalOf } from './tailnet-acceptance.ts';
import type { Outcome } from './work-queue.ts';

export type WorkKind = 'tailnet' | 'sidecar' | 'workload';

/** Entries of ours in a policy that somebody has changed. */
export interface PolicyDrift {
  /** It is written over. False: it is to stay, or could not be written over, and stands. */
  readonly repaired: boolean;
  readonly foundHash: string;
}

/** What every part of one manager works with. One per manager; nothing is shared between managers. */
export interface Context {
  readonly settings: Settings;
  readonly cluster: Cluster;
  readonly store: Store;
  readonly controlPlane: ControlPlane;
  readonly audit: AuditSink;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly events: EventBus;
  readonly history: ConnectivityHistory;
  readonly announcer: Announcer;
  readonly observed: Observed;
  readonly instances: Instances;
  readonly guardOrders: GuardOrders;
  /** Credentials that come only once and could not be stored yet, by tailnet id. */
  readonly unstored: Map<string, ControlCredential>;
  readonly policies: Policies;
  /** By those who share it: what has been told of a policy's drift. */
  readonly driftedPolicies: Map<string, PolicyDrift>;
  /** What a proof of isolation has found and told. */
  readonly toldFindings: ToldFindings;
  /** When the next one is to be. */
  readonly proofDue: ProofDue;
  /** One attach at a time for one hostname of a tailnet: the check and the write belong together. */
  readonly attaching: KeyedLock;
  /** Since when this manager hears reports and may act, and when a tailnet was last seen paused: see `judgedFromMs`. */
  readonly hearing: { sinceMs: number; readonly pausedAtMs: Map<string, number> };
  /** What stands in the way of what is taken away, and since when: a trouble that passes is no reason to leave anything. */
  readonly hindrances: Hindrances;
  readonly missing: Missing;
  readonly relays: KnownRelays;
  /** What the loop does not go by any more. */
  readonly outdated: Outdated;
  /** Asks the loop to look at an object; a workload by the key that its attachment has or would have. */
  readonly touch: (kind: WorkKind, key: string) => void;
  /** The same for what a call has just changed: at once, whatever the object failed at before. */
  readonly urge: (kind: WorkKind, key: string) => void;
  /** Has what a watch told of an object looked at, soon. */
  readonly hint: (kind: WorkKind, key: string, look: (call: Call) => Promise<void>) => void;
  /** Ends the round of an object that is under way and begins another: what it goes by holds no more. */
  readonly interrupt: (kind: WorkKind, key: string) => void;
  /** While true nothing is written, neither outside nor in the store. */
  readonly readOnly: () => boolean;
}

export interface Call {
  readonly signal: AbortSignal;
  /** Unset: everything. */
  readonly scope?: CallerScope;
  /** Of a caller's call: what turns out of it on the way, for its record. */
  readonly about?: About;
}

/** Whose object a call is about, once it has been found and the caller may know of it. */
export interface About {
  customerId?: string;
}

/** What a call that makes something answers with: what it made, or what was there. */
export interface Found<Object> {
  readonly stored: Object;
  readonly created: boolean;
}

/** The credential Secret's two keys. */
export const CREDENTIAL_KEYS = { clientId: 'client_id', clientSecret: 'client_secret' } as const;

/**
 * No deadline of that tailnet's sidecars is over before: time without a manager, or paused, is nobody's failure. Who runs has told so within the silence
 * that is allowed, and after a pause everything has its whole time again.
 */
export function judgedFromMs({ hearing, settings }: Context, tailnetName: string, wholeMs: number): number {
  return Math.max(hearing.sinceMs + settings.silenceMs, (hearing.pausedAtMs.get(tailnetName) ?? Number.NEGATIVE_INFINITY) + wholeMs);
}

/** The tailnet that a sidecar is for. One that another customer has made under its name meanwhile is none. */
export async function tailnetOf(context: Context, { spec }: StoredSidecar, call: Call): Promise<StoredTailnet | undefined> {
  const tailnet = await context.store.tailnets.get(spec.tailnetName, call);
  return tailnet?.spec.customerId === spec.customerId ? tailnet : undefined;
}

/**
 * The control plane's side of one tailnet, with the credential as it is now.
 *
 * @throws {BifrostError} `CONTROL_CREDENTIALS_INVALID` — no Secret, or one of its keys lacks, and the tailnet is not one that we made
 */
export async function controlOf(context: Context, tailnet: StoredTailnet, { signal }: Call): Promise<TailnetControl> {
  const { credentialSecretName, tenancy } = tailnet.spec;
  const { controlId } = tailnet.state;
  const { systemNamespace, sharedCredentialSecretName } = context.settings;
  const name = tenancy === 'shared' ? sharedCredentialSecretName : credentialSecretName;
  if (name === undefined)
    throw new BifrostError({
      code: 'CONTROL_CREDENTIALS_INVALID',
      message: 'Set the option sharedCredentialSecretName: without it the shared tailnet cannot be reached.',
      issues: [{ path: 'tenancy', message: 'needs the option sharedCredentialSecretName' }],
    });
  const secret = { namespace: systemNamespace, name };
  const data = await context.cluster.secrets.get(secret, { signal });
  const clientId = data?.get(CREDENTIAL_KEYS.clientId);
  const clientSecret = data?.get(CREDENTIAL_KEYS.clientSecret);
  if (clientId !== undefined && clientSecret !== undefined) {
    const credential = { clientId: clientId.reveal(), clientSecret };
    return context.controlPlane.tailnet(controlId === undefined ? { credential } : { credential, controlId });
  }
  // One that we made can still be reached by the organization's own client.
  if (tenancy === 'organization' && controlId !== undefined) return context.controlPlane.tailnet({ controlId });
  throw new BifrostError({
    code: 'CONTROL_CREDENTIALS_INVALID',
    message: `Put client_id and client_secret into Secret ${secret.namespace}/${secret.name}: the tailnet cannot be reached without them.`,
    details: { namespace: secret.namespace, secretName: secret.name },
    issues: [{ path: 'credential.secretName', message: 'names no Secret with both keys' }],
  });
}

/** A tailnet has been paused: no round that began before goes on. */
export function interruptPaused(context: Context, tailnetName: string): void {
  context.interrupt('tailnet', tailnetName);
  interruptSidecars(context, tailnetName);
}

export function interruptSidecars({ interrupt, observed }: Context, tailnetName: string): void {
  for (const { key } of observed.sidecarsOf(tailnetName)) interrupt('sidecar', key);
}

/** Writes the state, if it is another, and tells what is new in it. @throws {BifrostError} `STORE_CONFLICT`, `STORE_NOT_FOUND` */
export async function keepSidecar(
  context: Context,
  sidecar: StoredSidecar,
  { state, signal }: { readonly state: SidecarState } & Call,
): Promise<StoredSidecar> {
  const { spec, generation } = sidecar;
  const told: SidecarState = { ...state, conditions: sidecarConditions(state, { spec, generation, nowMs: context.clock.nowMs() }) };
  if (sameJson(told, sidecar.state)) return sidecar;
  const written = await context.outdated.replacing('sidecar', sidecar, () => context.store.sidecars.replaceState(sidecar, told, { signal }));
  sawSidecar(context, written.key, written);
  return written;
}

/** Changes what is wanted of a sidecar. @throws {BifrostError} `STORE_CONFLICT`, `STORE_NOT_FOUND` */
export async function respecSidecar(
  context: Context,
  sidecar: StoredSidecar,
  { spec, signal }: { readonly spec: SidecarSpec } & Call,
): Promise<StoredSidecar> {
  const written = await context.outdated.replacing('sidecar', sidecar, () => context.store.sidecars.replaceSpec(sidecar, spec, { signal }));
  sawSidecar(context, written.key, written);
  return written;
}

/**
 * What is made outside goes by what is stored now, and a read may be older: a sidecar that is put in by an attachment that was taken away meanwhile would
 * be nobody's. So nothing is written first, which is refused to an old version. What this round has written is as good.
 *
 * @throws {BifrostError} `STORE_CONFLICT`, `STORE_NOT_FOUND`
 */
export async function proveSidecar(context: Context, sidecar: StoredSidecar, call: Call): Promise<StoredSidecar> {
  return context.outdated.isWritten(sidecar) ? sidecar : respecSidecar(context, sidecar, { spec: sidecar.spec, ...call });
}

/** The same of a tailnet. @throws {BifrostError} `STORE_CONFLICT`, `STORE_NOT_FOUND` */
export async function proveTailnet(context: Context, tailnet: StoredTailnet, { signal }: Call): Promise<StoredTailnet> {
  if (context.outdated.isWritten(tailnet)) return tailnet;
  return context.outdated.replacing('tailnet', tailnet, () => context.store.tailnets.replaceSpec(tailnet, tailnet.spec, { signal }));
}

/** Writes the state, if it is another, and tells what is new in it. @throws {BifrostError} `STORE_CONFLICT`, `STORE_NOT_FOUND` */
export async function keepTailnet(
  context: Context,
  tailnet: StoredTailnet,
  { state, outdated = 0, signal }: { readonly state: TailnetState; readonly outdated?: number } & Call,
): Promise<StoredTailnet> {
  const { spec, generation } = tailnet;
  const guards = guardCounts(context, tailnet.key);
  const routerTag = routerTagOf(context, tailnet);
  const look = { spec, refused: refusalOf(tailnet), outdated, guards, routerTag, generation, nowMs: context.clock.nowMs() };
  const told: TailnetState = { ...state, conditions: tailnetConditions(state, look) };
  if (sameJson(told, tailnet.state)) return tailnet;
  const written = await context.outdated.replacing('tailnet', tailnet, () => context.store.tailnets.replaceState(tailnet, told, { signal }));
  sawTailnet(context, written.key, written);
  // A report that came meanwhile went by what was told before, and so asked for no other look.
  if ((guards?.outdated === 0) !== (guardCounts(context, tailnet.key)?.outdated === 0)) context.touch('tailnet', tailnet.key);
  return written;
}

/** Tells listeners what is new, and its sidecars when it has become active: they wait for it. */
export function sawTailnet(context: Context, key: string, tailnet: StoredTailnet | undefined): void {
  context.guardOrders.saw(key, tailnet);
  if (!context.announcer.sawTailnet(key, tailnet)) return;
  for (const sidecarKey of context.announcer.sidecarsOf(key)) context.touch('sidecar', sidecarKey);
}

/** For a stored object that a round reads: gives when to look again if it was known and is not found. What we end ourselves is told gone already. */
export function secondLookAt(
  { announcer, missing }: Context,
  kind: 'tailnet' | 'sidecar',
  { key, found }: { readonly key: string; readonly found: StoredTailnet | StoredSidecar | undefined },
): Outcome | undefined {
  const what = `${kind} ${key}`;
  const again = found === undefined && announcer.customerOf(kind, key) !== undefined ? missing.secondLook(what) : undefined;
  if (again === undefined) missing.forget(what);
  return again;
}

/** Keeps what is stored now for whoever looks it up, and tells listeners what is new in it. */
export function sawSidecar({ observed, announcer }: Context, key: string, sidecar: StoredSidecar | undefined): void {
  observed.sawSidecar(key, sidecar);
  announcer.sawSidecar(key, sidecar);
}
