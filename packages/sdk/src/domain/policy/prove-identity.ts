import type { ProofFinding } from '@bifrost/types/core';
import { bookTagOf, customerTagsOf, type Digest, isIdentityTag } from './identity-tags.ts';
import { controlKeyOf, type DeviceEvidence, type Evidence, SHARED, type SidecarEvidence, type TailnetEvidence } from './proof-evidence.ts';

/** What a control plane has for one or, in tenancy `shared`, for several stored tailnets. */
export interface ControlGroup {
  readonly key: string;
  readonly tailnets: readonly (readonly [name: string, tailnet: TailnetEvidence])[];
}

/** The stored tailnets by what they are at the control plane. */
export function controlGroups(evidence: Evidence): readonly ControlGroup[] {
  const groups = new Map<string, (readonly [string, TailnetEvidence])[]>();
  for (const [name, tailnet] of evidence.all('tailnet')) {
    const key = controlKeyOf(name, tailnet);
    groups.set(key, [...(groups.get(key) ?? []), [name, tailnet]]);
  }
  return [...groups].map(([key, tailnets]) => ({ key, tailnets }));
}

type Found = Omit<ProofFinding, 'layer'>;

/** Whose a tag is, of those that say it. */
export class TagOwners {
  readonly #owners = new Map<string, string>();

  constructor(evidence: Evidence, digest: Digest) {
    for (const [tailnetName, { customerId }] of evidence.all('tailnet')) {
      const { customer, router } = customerTagsOf({ customerId, tailnetName }, digest);
      this.#owners.set(customer, customerId);
      this.#owners.set(router, customerId);
    }
    for (const [, sidecar] of evidence.all('sidecar')) this.#owners.set(bookTagOf(sidecar, sidecar.bookDeploymentId, digest), sidecar.customerId);
  }

  /** `nobody`: it looks as if it said whose a device is, and no customer of this installation has it. Undefined: it says nothing of that. */
  of(tag: string): { readonly customerId: string } | 'nobody' | undefined {
    const customerId = this.#owners.get(tag);
    if (customerId !== undefined) return { customerId };
    // A book that is gone has left its device for a while: its tag says nothing that the customer's beside it does not.
    return isIdentityTag(tag) && !tag.startsWith('tag:bifrost-book-') ? 'nobody' : undefined;
  }

  customersOf(tags: readonly string[]): readonly string[] {
    return [
      ...new Set(
        tags.flatMap((tag) => {
          const owner = this.of(tag);
          return owner === undefined || owner === 'nobody' ? [] : [owner.customerId];
        }),
      ),
    ];
  }
}

/** A workload's namespace, its attachment and its tailnet are one customer's, and its template carries this attachment. */
export function* sidecarIdentity(key: string, sidecar: SidecarEvidence, evidence: Evidence): Generator<Found, void, void> {
  const { tailnetName, customerId, sidecarId, namespace } = sidecar;
  const tailnet = evidence.get('tailnet', tailnetName);
  const workload = evidence.get('workload', key);
  const where = `workload ${key}`;
  const base = { tailnetName, customerId, where };
  if (tailnet !== undefined && tailnet.customerId !== customerId)
    yield { ...base, kind: 'foreign-tailnet', otherCustomerId: tailnet.customerId, by: `sidecar ${sidecarId}`, where: `tailnet ${tailnetName}` };
  if (workload === undefined || !workload.carries) return;
  if (workload.customerId !== customerId) {
    const other = workload.customerId === undefined ? {} : { otherCustomerId: workload.customerId };
    yield { ...base, kind: 'foreign-namespace', ...other, by: `namespace ${namespace}` };
  }
  if (workload.sidecarId !== sidecarId) yield { ...base, kind: 'foreign-sidecar', by: 'the label of its template' };
}

/** For each value that tailnets of several customers have: the first of them, and one of each other customer. */
function* meetings(values: Iterable<readonly [value: string, name: string, customerId: string]>): Generator<{
  readonly value: string;
  readonly first: { readonly name: string; readonly customerId: string };
  readonly other: { readonly name: string; readonly customerId: string };
}> {
  const firsts = new Map<string, { readonly name: string; readonly customerId: string }>();
  for (const [value, name, customerId] of values) {
    const first = firsts.get(value);
    if (first === undefined) firsts.set(value, { name, customerId });
    else if (first.customerId !== customerId) yield { value, first, other: { name, customerId } };
  }
}

/** Outside of tenancy `shared` no two customers have one credential, one tailnet at the control plane, or one device. */
export function* tailnetIdentity(evidence: Evidence): Generator<Found, void, void> {
  const apart = evidence.all('tailnet').filter(([, { tenancy }]) => tenancy !== SHARED);
  const met = (found: ReturnType<typeof meetings>, kind: 'shared-credential' | 'shared-tailnet', word: string): readonly Found[] =>
    [...found].map(({ value, first, other }) => ({
      ...{ kind, tailnetName: first.name, customerId: first.customerId, otherCustomerId: other.customerId },
      ...{ by: `${word} ${value}`, where: `tailnet ${other.name}` },
    }));
  yield* met(
    meetings(apart.map(([name, { credentialSecretName, customerId }]) => [credentialSecretName, name, customerId])),
    'shared-credential',
    'secret',
  );
  const told = apart.flatMap(([name, { controlId, customerId }]) =>
    controlId === undefined || controlId === '-' ? [] : [[controlId, name, customerId] as const],
  );
  yield* met(meetings(told), 'shared-tailnet', 'control plane tailnet');
  const devices = apart.flatMap(([name, { customerId }]) =>
    (evidence.get('devices', name) ?? []).map(({ deviceId }) => [deviceId, name, customerId] as const),
  );
  yield* met(meetings(devices), 'shared-tailnet', 'device');
}

/** Each device's tags are of one customer only, and of the one whose pod says that it is its own. */
export function* deviceIdentity({ key, tailnets }: ControlGroup, evidence: Evidence, owners: TagOwners): Generator<Found, void, void> {
  const [first] = tailnets;
  if (first === undefined) return;
  const members = new Map(tailnets.map(([name, { customerId }]) => [customerId, name]));
  const held = holders(new Set(tailnets.map(([name]) => name)), evidence);
  for (const device of evidence.get('devices', key) ?? []) {
    const named = owners.customersOf(device.tags);
    const owner =
      held.get(device.deviceId) ??
      (key === first[0] ? first[1].customerId : (named.find((customerId) => members.has(customerId)) ?? first[1].customerId));
    const base = { tailnetName: members.get(owner) ?? first[0], customerId: owner, where: `devices ${key}` };
    yield* foreignTags(device, owner, owners).map((found) => ({ ...base, ...found }));
    if (key !== first[0] && held.has(device.deviceId) && !named.includes(owner))
      yield { ...base, kind: 'foreign-tag', by: `device ${device.name} without the tag of its customer` };
  }
}

function foreignTags({ name, tags }: DeviceEvidence, owner: string, owners: TagOwners): readonly Pick<Found, 'kind' | 'by' | 'otherCustomerId'>[] {
  return tags.flatMap((tag) => {
    const whose = owners.of(tag);
    if (whose === undefined || (whose !== 'nobody' && whose.customerId === owner)) return [];
    return [{ kind: 'foreign-tag', by: `device ${name} with ${tag}`, ...(whose === 'nobody' ? {} : { otherCustomerId: whose.customerId }) }];
  });
}

/** Whose pods say which devices are their own. */
function holders(tailnetNames: ReadonlySet<string>, evidence: Evidence): ReadonlyMap<string, string> {
  const held = new Map<string, string>();
  for (const [key, { tailnetName, customerId }] of evidence.all('sidecar')) {
    if (!tailnetNames.has(tailnetName)) continue;
    for (const { deviceId } of evidence.get('agents', key) ?? []) if (deviceId !== undefined) held.set(deviceId, customerId);
  }
  return held;
}
