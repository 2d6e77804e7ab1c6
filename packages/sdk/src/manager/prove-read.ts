import { BifrostError, type ProofInput } from '@bifrost/types/core';
import type { StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { type GuardEvidence, proofInput, type SidecarEvidence, type WorkloadEvidence } from '../domain/policy/proof-evidence.ts';
import { guardReader } from '../domain/policy/read-guard.ts';
import { directAddressesOf } from './before-writing.ts';
import { mapBounded } from './bounded.ts';
import type { Call, Context } from './context.ts';
import { networkHash, sha256 } from './hashes.ts';
import { controlsInputs } from './prove-read-controls.ts';
import { read } from './prove-read-one.ts';
import { podsInput, type ReadSidecar, runningInput, runningPods } from './prove-read-pods.ts';
import { type ReadGuard, workloadEvidence } from './prove-read-workload.ts';
import { knownRanges } from './sidecar-render.ts';

const keepsNetworkPolicies = ({ settings }: Context): boolean => settings.networkPolicies === 'enforce';

async function settingsInput(context: Context, call: Call): Promise<ProofInput> {
  const { settings, cluster, store, controlPlane } = context;
  const { deviceTags, routerTag, networkPolicyEnforced, systemNamespace } = settings;
  const clusterRanges = await knownRanges(context, call).catch((error: unknown) => {
    if (call.signal.aborted || !BifrostError.is(error)) throw error;
    return undefined;
  });
  return proofInput('settings', 'manager', {
    installation: `${systemNamespace} (${[cluster, store, controlPlane].map(({ kind }) => kind).join(', ')})`,
    ...{ deviceTags, routerTag, networkPolicyEnforced, networkPoliciesKept: keepsNetworkPolicies(context) },
    ...(clusterRanges === undefined ? {} : { clusterRanges }),
    directAddresses: directAddressesOf(settings),
  });
}

function tailnetInput({ key, spec, state }: StoredTailnet): ProofInput {
  const { tailnetId, customerId, tenancy, credentialSecretName, config } = spec;
  const { allowedNetworks, blockedNetworks, accessPolicy } = config;
  return proofInput('tailnet', key, {
    ...{ tailnetId, customerId, tenancy, credentialSecretName, allowedNetworks, blockedNetworks, accessPolicy },
    ...(state.controlId === undefined ? {} : { controlId: state.controlId }),
    networkHash: networkHash(config),
    // The policy of a customer's own tailnet is the customer's own, also where entries of ours are in it.
    managed: state.policyWritten === true && tenancy !== 'customer-owned',
  });
}

function sidecarInput({ key, spec }: StoredSidecar, { found, readGuard }: { readonly found: ProofInput; readonly readGuard: ReadGuard }): ProofInput {
  const { sidecarId, tailnetName, customerId, bookDeploymentId, workload, networkMode, fragment, renderedFor, previous } = spec;
  const guardOf = (of: Pick<typeof spec, 'fragment' | 'renderedFor'>): readonly GuardEvidence[] => {
    const guard = readGuard(of.fragment);
    if (guard === undefined) return [];
    const rules = found.text.includes(guard.sha256) ? [] : guard.rules;
    return [{ ...(of.renderedFor === undefined ? {} : { renderedFor: of.renderedFor }), ...guard, rules }];
  };
  const evidence: SidecarEvidence = {
    ...{ sidecarId, tailnetName, customerId, bookDeploymentId, namespace: workload.namespace, userspace: networkMode === 'userspace' },
    ...(spec.quarantine === undefined ? {} : { quarantined: true }),
    guards: [...guardOf({ fragment, ...(renderedFor === undefined ? {} : { renderedFor }) }), ...(previous === undefined ? [] : guardOf(previous))],
  };
  return proofInput('sidecar', key, evidence);
}

/** Of the pods that are known: one that the store has, and whose agent this manager has not heard, may hold anything. */
function agentsInput({ instances }: Context, { key, state }: StoredSidecar): ProofInput {
  const known = instances.of(key).map(({ podUid, podName, reported, guardHolds, deviceId }) => ({
    ...{ podUid, podName, heard: reported },
    ...(guardHolds === undefined ? {} : { holds: guardHolds }),
    ...(deviceId === undefined ? {} : { deviceId }),
  }));
  const stored = state.instances.filter(({ podUid }) => !known.some((instance) => instance.podUid === podUid));
  const unheard = stored.map(({ podUid, podName, deviceId }) => ({ podUid, podName, heard: false, ...(deviceId === undefined ? {} : { deviceId }) }));
  return proofInput(
    'agents',
    key,
    [...known, ...unheard].sort((a, b) => (a.podUid < b.podUid ? -1 : 1)).map(({ podUid: _, ...agent }) => agent),
  );
}

interface SidecarInputs extends ReadSidecar {
  readonly inputs: readonly ProofInput[];
}

/**
 * As it is stored now, where the template has something else than it said before: an update is stored first, and then put in. Between the two reads all
 * control planes were asked, and what came in meanwhile is no change of somebody else's.
 */
async function storedFor(
  context: Context,
  { sidecar, workload, readGuard }: ReadSidecar & { readonly readGuard: ReadGuard },
  call: Call,
): Promise<StoredSidecar> {
  if (workload?.carries !== true) return sidecar;
  const { spec } = sidecar;
  const guards = [spec.fragment, ...(spec.previous === undefined ? [] : [spec.previous.fragment])].map((fragment) => readGuard(fragment)?.sha256);
  if (workload.sidecarId === spec.sidecarId && guards.includes(workload.guard?.sha256)) return sidecar;
  const now = await context.store.sidecars.get(sidecar.key, call);
  return now === undefined || now.deleting ? sidecar : now;
}

async function sidecarInputs(
  context: Context,
  { sidecar: listed, readGuard }: { readonly sidecar: StoredSidecar; readonly readGuard: ReadGuard },
  call: Call,
): Promise<SidecarInputs> {
  const { key, spec } = listed;
  let workload: WorkloadEvidence | undefined;
  const input = await read({ kind: 'workload', key, ...call }, async () => {
    workload = workloadEvidence(await context.cluster.workloads.get(spec.workload, call), listed, readGuard);
    return workload;
  });
  const sidecar = await storedFor(context, { sidecar: listed, workload, readGuard }, call);
  return { sidecar, workload, inputs: [sidecarInput(sidecar, { found: input, readGuard }), input, agentsInput(context, sidecar)] };
}

const isUserspace = (of: Pick<StoredSidecar['spec'], 'networkMode'> | undefined): boolean => of?.networkMode === 'userspace';

/** Policies of the namespaces where they stand in for a guard, and of all that have pods where ours are to keep pods apart. */
function policyNamespaces(context: Context, sidecars: readonly StoredSidecar[]): readonly string[] {
  if (!context.settings.networkPolicyEnforced) return [];
  const asked = sidecars.filter(({ spec }) => keepsNetworkPolicies(context) || isUserspace(spec) || isUserspace(spec.previous));
  return [...new Set(asked.map(({ spec }) => spec.workload.namespace))].sort();
}

/** Reads back all that a proof rests on: from the store, the cluster, each tailnet's control plane, and what the agents said last. */
export async function readEvidence(context: Context, call: Call): Promise<readonly ProofInput[]> {
  const { store, cluster, settings } = context;
  const stored = await store.tailnets.list(call);
  const tailnets = stored.filter(({ deleting }) => !deleting);
  const leaving = stored
    .filter(({ deleting }) => deleting)
    .map(({ key, spec: { customerId, tenancy } }) => proofInput('leaving', key, { customerId, tenancy }));
  const sidecars = (await store.sidecars.list(call)).filter(({ deleting }) => !deleting);
  const ofControls = await controlsInputs(context, tailnets, call);
  const readGuard = guardReader(sha256);
  const ofSidecars = await mapBounded(sidecars, settings.concurrency, (sidecar) => sidecarInputs(context, { sidecar, readGuard }, call));
  const namespaces = policyNamespaces(context, sidecars);
  const ofNamespaces = await mapBounded(namespaces, settings.concurrency, (key) =>
    read({ kind: 'network-policies', key, ...call }, () => cluster.topology.networkPolicies(key, call)),
  );
  const pods = runningPods(context, call);
  const running = await runningInput(context, { sidecars: ofSidecars, pods, readGuard }, call);
  const isPodLayer = keepsNetworkPolicies(context) && settings.networkPolicyEnforced;
  const ofPods = isPodLayer ? [running, await podsInput(context, { namespaces, pods }, call)] : [running];
  const ofTailnets = [...tailnets.map(tailnetInput), ...leaving, ...ofControls];
  return [await settingsInput(context, call), ...ofTailnets, ...ofSidecars.flatMap(({ inputs }) => inputs), ...ofNamespaces, ...ofPods];
}
