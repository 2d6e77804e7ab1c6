import type { ProofFinding } from '@bifrost/types/core';
import { controlKeyOf, type DeviceEvidence, type Evidence, SHARED, type SidecarEvidence } from './proof-evidence.ts';
import type { ControlGroup, Survey, TagOwners } from './survey.ts';

type Found = Omit<ProofFinding, 'layer'>;

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

/** The same of pods that run otherwise than the template. Whose the namespace is, the template's judgement has said where it carries the attachment. */
export function* runningIdentity(
  key: string,
  { tailnetName, customerId, sidecarId, namespace }: SidecarEvidence,
  survey: Survey,
): Generator<Found, void, void> {
  const isSaid = survey.evidence.get('workload', key)?.carries === true;
  for (const pods of survey.runningOf(key)) {
    const base = { tailnetName, customerId, where: `pod ${pods.pod}` };
    if (!isSaid && pods.customerId !== customerId) {
      const other = pods.customerId === undefined ? {} : { otherCustomerId: pods.customerId };
      yield { ...base, kind: 'foreign-namespace', ...other, by: `namespace ${namespace}` };
    }
    if (pods.sidecarId !== sidecarId) yield { ...base, kind: 'foreign-sidecar', by: 'the label of its pods' };
  }
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
export function* deviceIdentity({ key, tailnets }: ControlGroup, survey: Survey): Generator<Found, void, void> {
  const { evidence, owners } = survey;
  const [first] = tailnets;
  if (first === undefined) return;
  // Devices of a tailnet that is being deleted are there for a while, and are that customer's.
  const leaving = evidence.all('leaving').filter(([name, tailnet]) => controlKeyOf(name, tailnet) === key);
  const members = new Map([...leaving, ...tailnets].map(([name, { customerId }]) => [customerId, name]));
  const held = holders(tailnets, survey);
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
function holders(tailnets: ControlGroup['tailnets'], survey: Survey): ReadonlyMap<string, string> {
  const held = new Map<string, string>();
  for (const [key, { customerId }] of tailnets.flatMap(([name]) => survey.sidecarsOf(name)))
    for (const { deviceId } of survey.evidence.get('agents', key) ?? []) if (deviceId !== undefined) held.set(deviceId, customerId);
  return held;
}
