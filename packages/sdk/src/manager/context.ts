import { BifrostError } from '@bifrost/types/core';
import type { Reason, SidecarState, StoredSidecar, StoredTailnet } from '../domain/model.ts';
import type { AuditSink, Clock, Cluster, ControlCredential, ControlPlane, Logger, Store, TailnetControl } from '../ports/index.ts';
import type { Announcer } from './announcer.ts';
import type { EventBus } from './event-bus.ts';
import type { Instances } from './instances.ts';
import type { KeyedLock } from './keyed-lock.ts';
import type { Observed } from './observed.ts';
import type { Settings } from './options.ts';

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
  readonly announcer: Announcer;
  readonly observed: Observed;
  readonly instances: Instances;
  /** Credentials that come only once and could not be stored yet, by tailnet id. */
  readonly unstored: Map<string, ControlCredential>;
  /** One attach at a time for one hostname of a tailnet: the check and the write belong together. */
  readonly attaching: KeyedLock;
  /** Asks the loop to look at an object. */
  readonly touch: (kind: 'tailnet' | 'sidecar', key: string) => void;
}

export interface Call {
  readonly signal: AbortSignal;
}

/** The credential Secret's two keys. */
export const CREDENTIAL_KEYS = { clientId: 'client_id', clientSecret: 'client_secret' } as const;

/**
 * The control plane's side of one tailnet, with the credential as it is now.
 *
 * @throws {BifrostError} `CONTROL_CREDENTIALS_INVALID` — no Secret, or one of its keys lacks, and the tailnet is not one that we made
 */
export async function controlOf(context: Context, tailnet: StoredTailnet, { signal }: Call): Promise<TailnetControl> {
  const { credentialSecretName, tenancy } = tailnet.spec;
  const { controlId } = tailnet.state;
  const secret = { namespace: context.settings.systemNamespace, name: credentialSecretName };
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

/** A reason as it is stored: the code, our own sentence without the code in front of it twice, and the first field at fault. */
export const reasonOf = ({ code, message, issues }: BifrostError): Reason => ({
  code,
  message: message.replace(`[${code}] `, ''),
  ...(issues[0]?.path ? { path: issues[0].path } : {}), // an empty path is the whole: it says nothing
});

/** Writes the state and tells what is new in it. @throws {BifrostError} `STORE_CONFLICT`, `STORE_NOT_FOUND` */
export async function keepSidecar(
  { store, announcer }: Context,
  sidecar: StoredSidecar,
  { state, signal }: { readonly state: SidecarState } & Call,
): Promise<StoredSidecar> {
  const written = await store.sidecars.replaceState(sidecar, state, { signal });
  announcer.sawSidecar(written.key, written);
  return written;
}
