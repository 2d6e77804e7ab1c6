import { BifrostError, Secret } from '@bifrost/types/core';
import type { SidecarState, StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { attachmentSecretName, keyDescription, LABELS } from '../domain/names.ts';
import { isIdentityTag } from '../domain/policy/identity-tags.ts';
import { hasTags, planKey } from '../domain/reconcile-plan.ts';
import type { TailnetControl } from '../ports/index.ts';
import { type Call, type Context, keepSidecar, proveSidecar } from './context.ts';
import { identityTags } from './identities.ts';
import { ownsTags } from './policy-members.ts';

/** Pods that started just before a rotation may still read the old key from their volume. */
const OLD_KEY_GRACE_MS = 15 * 60_000;

export const attachmentSecret = (sidecar: StoredSidecar) => ({
  namespace: sidecar.spec.workload.namespace,
  name: attachmentSecretName(sidecar.spec.sidecarId),
});

/** Labels of what we make for a customer: the caller's tags are among them. */
export const attachmentLabels = (tailnet: StoredTailnet, sidecar: StoredSidecar): Record<string, string> => ({
  ...Object.fromEntries(tailnet.spec.tags.map((tag) => [`tag.bifrost.dev/${tag}`, 'true'])),
  [LABELS.customerId]: tailnet.spec.customerId,
  [LABELS.sidecarId]: sidecar.spec.sidecarId,
});

interface KeyWork extends Call {
  /** What the attachment's Secret held; undefined: there is none. */
  readonly seen?: ReadonlyMap<string, Secret> | undefined;
  readonly tailnet: StoredTailnet;
  readonly control: TailnetControl;
}

/** What a key is to have beside what all books have; undefined: nothing. */
function ownTags(tailnet: StoredTailnet, sidecar: StoredSidecar): readonly string[] | undefined {
  const tags = identityTags(tailnet, sidecar);
  return tags.length === 0 ? undefined : tags;
}

/** Whether it has no key that fits. */
export function lacksKey(tailnet: StoredTailnet, sidecar: StoredSidecar): boolean {
  const current = sidecar.state.keys.at(-1);
  return current === undefined || !hasTags(current, ownTags(tailnet, sidecar));
}

/**
 * Sees to it that the attachment's Secret holds a valid key. One reusable, ephemeral, tagged key per attachment, so that scale-out works while no
 * manager runs. A key whose reply was lost cannot be read again: it is found by its description, revoked, and another is made. The Secret says which key
 * it holds, so that one that was not put on record any more (the manager died in between) is found there.
 *
 * Undefined: it has none yet, since the policy does not own its tags yet.
 */
export async function ensureKey(context: Context, sidecar: StoredSidecar, given: Omit<KeyWork, 'seen'>): Promise<StoredSidecar | undefined> {
  const { settings, clock, cluster } = context;
  const data = await cluster.secrets.get(attachmentSecret(sidecar), given);
  const work: KeyWork = { ...given, seen: data };
  const held = data?.get('authkey');
  const heldId = data?.get('keyid')?.reveal();
  if (heldId !== undefined && !sidecar.state.keys.some(({ keyId }) => keyId === heldId))
    return recordKey(context, sidecar, { ...work, keyId: heldId });
  const plan = planKey({
    keys: sidecar.state.keys,
    secretHoldsKey: held !== undefined,
    secretHoldsAuthority: data?.get('ca.crt')?.reveal() === settings.ingest.caBundle,
    tags: ownTags(work.tailnet, sidecar),
    nowMs: clock.nowMs(),
    lifetimeMs: settings.keyLifetimeSeconds * 1000,
    graceMs: OLD_KEY_GRACE_MS,
  });
  if (plan.kind === 'mint') {
    if (await ownsTags(context, work.tailnet, { sidecar, ...work })) return mintKey(context, sidecar, work);
    context.touch('tailnet', work.tailnet.key);
    const isUsable = held !== undefined && (sidecar.state.keys.at(-1)?.expiresAtMs ?? 0) > clock.nowMs();
    return isUsable ? sidecar : undefined;
  }
  if (plan.kind === 'rewrite' && held !== undefined)
    await putSecret(context, await proveSidecar(context, sidecar, work), { ...work, key: held, keyId: heldId });
  if (plan.kind !== 'retire') return sidecar;
  for (const keyId of plan.keyIds) await work.control.revokeKey(keyId, work);
  const keys = sidecar.state.keys.filter(({ keyId }) => !plan.keyIds.includes(keyId));
  return keepSidecar(context, sidecar, { state: { ...sidecar.state, keys }, ...work });
}

async function mintKey(context: Context, read: StoredSidecar, work: KeyWork): Promise<StoredSidecar> {
  const { control, tailnet, signal } = work;
  const sidecar = await proveSidecar(context, read, work);
  const { deviceTags, keyLifetimeSeconds } = context.settings;
  const own = ownTags(tailnet, sidecar);
  const tags = tailnet.spec.tenancy === 'shared' ? (own ?? []) : [...deviceTags, ...(own ?? [])];
  const known = new Set(sidecar.state.keys.map(({ keyId }) => keyId));
  const description = keyDescription(sidecar.spec.sidecarId);
  for (const key of await control.listKeys({ signal })) {
    if (key.description === description && !known.has(key.keyId)) await control.revokeKey(key.keyId, { signal });
  }
  const made = await control.createKey({ description, tags, reusable: true, ephemeral: true, lifetimeSeconds: keyLifetimeSeconds }, { signal });
  try {
    await putSecret(context, sidecar, { ...work, key: made.key, keyId: made.keyId });
  } catch (error) {
    // For certain it was not written, and the Secret may hold a key already that an older answer did not tell: then nobody would come to revoke this one.
    if (BifrostError.is(error) && error.code === 'CLUSTER_CONFLICT') await control.revokeKey(made.keyId, { signal });
    throw error;
  }
  const { keyId, expiresAtMs } = made;
  const keys = [...sidecar.state.keys, { keyId, expiresAtMs, ...(own === undefined ? {} : { tags: own }) }];
  return keepSidecar(context, sidecar, { state: { ...sidecar.state, keys }, signal });
}

/** Puts a key of ours on record that the Secret holds already; what is no key of ours any more is replaced. */
async function recordKey(context: Context, sidecar: StoredSidecar, work: KeyWork & { readonly keyId: string }): Promise<StoredSidecar> {
  const description = keyDescription(sidecar.spec.sidecarId);
  const held = (await work.control.listKeys(work)).find((key) => key.keyId === work.keyId && key.description === description && key.valid);
  if (held === undefined) return mintKey(context, sidecar, work);
  const { keyId, expiresAtMs } = held;
  const own = held.tags.filter((tag) => isIdentityTag(tag));
  const keys = [...sidecar.state.keys, { keyId, expiresAtMs, ...(own.length === 0 ? {} : { tags: own }) }];
  return keepSidecar(context, sidecar, { state: { ...sidecar.state, keys }, ...work });
}

async function putSecret(
  context: Context,
  sidecar: StoredSidecar,
  { tailnet, key, keyId, seen, signal }: KeyWork & { readonly key: Secret; readonly keyId: string | undefined },
): Promise<void> {
  const { caBundle } = context.settings.ingest;
  const data = new Map([
    ['authkey', key],
    ...(keyId === undefined ? [] : ([['keyid', new Secret(keyId)]] as const)),
    ...(caBundle === undefined ? [] : ([['ca.crt', new Secret(caBundle)]] as const)),
  ]);
  await context.cluster.secrets.put({ ...attachmentSecret(sidecar), labels: attachmentLabels(tailnet, sidecar), data }, { seen, signal });
}

/** Revokes every key of the attachment, recorded or not. */
export async function revokeKeys(
  sidecarId: string,
  state: SidecarState,
  { control, signal }: { readonly control: TailnetControl } & Call,
): Promise<void> {
  const recorded = state.keys.map(({ keyId }) => keyId);
  const found = (await control.listKeys({ signal })).filter(({ description }) => description === keyDescription(sidecarId)).map(({ keyId }) => keyId);
  for (const keyId of new Set([...recorded, ...found])) await control.revokeKey(keyId, { signal });
}
