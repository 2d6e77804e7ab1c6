import { BifrostError, type ProofInput } from '@bifrost/types/core';
import { bookContainers } from '../domain/book-containers.ts';
import { carriesNothing } from '../domain/carries.ts';
import type { StoredSidecar, StoredTailnet } from '../domain/model.ts';
import { CONTAINERS, LABELS } from '../domain/names.ts';
import type { ContainerShape } from '../domain/pod-shape.ts';
import {
  type ContainerEvidence,
  controlKeyOf,
  type EvidenceKind,
  type EvidenceKinds,
  type GuardEvidence,
  proofInput,
  SHARED,
  type SidecarEvidence,
  unreadInput,
  type WorkloadEvidence,
} from '../domain/policy/proof-evidence.ts';
import { readGuard } from '../domain/policy/read-guard.ts';
import type { TailnetControl, Workload } from '../ports/index.ts';
import { directAddressesOf } from './before-writing.ts';
import { mapBounded } from './bounded.ts';
import { type Call, type Context, controlOf } from './context.ts';
import { networkHash, sha256 } from './hashes.ts';
import { addressesOfPod } from './pod-addresses.ts';
import { knownRanges } from './sidecar-render.ts';

/** What could not be read is noted with its code: one customer's control plane that is away does not end the rest. */
async function read<Kind extends EvidenceKind>(
  { kind, key, signal }: { readonly kind: Kind; readonly key: string } & Call,
  ask: () => Promise<EvidenceKinds[Kind]>,
): Promise<ProofInput> {
  try {
    return proofInput(kind, key, await ask());
  } catch (error) {
    if (signal.aborted || !BifrostError.is(error)) throw error;
    return unreadInput(kind, key, error.code);
  }
}

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

function sidecarInput({ key, spec }: StoredSidecar, found: ProofInput): ProofInput {
  const { sidecarId, tailnetName, customerId, bookDeploymentId, workload, networkMode, fragment, renderedFor, previous } = spec;
  const guardOf = (of: Pick<typeof spec, 'fragment' | 'renderedFor'>): readonly GuardEvidence[] => {
    const guard = readGuard(of.fragment, sha256);
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

function containerEvidence({ name, securityContext }: ContainerShape): ContainerEvidence {
  const { privileged, capabilities } = (securityContext ?? {}) as {
    readonly privileged?: boolean;
    readonly capabilities?: { readonly add?: readonly string[] | null; readonly drop?: readonly string[] | null };
  };
  return { name, privileged: privileged === true, add: capabilities?.add ?? [], drop: capabilities?.drop ?? [] };
}

function workloadEvidence(workload: Workload | undefined, { spec: { fragment } }: StoredSidecar): WorkloadEvidence {
  if (workload === undefined) return { carries: false, hostNetwork: false, labels: {}, guardAt: -1, containers: [] };
  const { template, customerId } = workload;
  const initContainers = template.spec.initContainers ?? [];
  const labels = template.metadata?.labels ?? {};
  const guard = readGuard({ initContainers }, sha256);
  const sidecarId = labels[LABELS.sidecarId];
  return {
    carries: !carriesNothing(template, fragment),
    ...(customerId === undefined ? {} : { customerId }),
    ...(sidecarId === undefined ? {} : { sidecarId }),
    ...{ hostNetwork: template.spec.hostNetwork === true, labels },
    ...(guard === undefined ? {} : { guard }),
    guardAt: initContainers.findIndex(({ name }) => name === CONTAINERS.guard),
    containers: bookContainers(template).map(containerEvidence),
  };
}

async function sidecarInputs(context: Context, sidecar: StoredSidecar, call: Call): Promise<readonly ProofInput[]> {
  const { key, spec } = sidecar;
  const workload = await read({ kind: 'workload', key, ...call }, async () =>
    workloadEvidence(await context.cluster.workloads.get(spec.workload, call), sidecar),
  );
  return [sidecarInput(sidecar, workload), workload, agentsInput(context, sidecar)];
}

/** Of those of one tailnet at the control plane; several only in tenancy `shared`. */
async function controlInputs(
  context: Context,
  [key, tailnets]: readonly [string, readonly StoredTailnet[]],
  call: Call,
): Promise<readonly ProofInput[]> {
  const tailnet = tailnets.find(({ state }) => state.phase === 'active') ?? tailnets[0];
  const isManaged = tailnets.some(
    ({ spec, state }) => (state.policyWritten === true && spec.tenancy !== 'customer-owned') || spec.tenancy === SHARED,
  );
  // One that is yet to be made has nothing in it.
  if (tailnet === undefined || (tailnet.state.controlId === undefined && tailnet.state.phase !== 'active')) return [];
  let control: Promise<TailnetControl> | undefined;
  const opened = (): Promise<TailnetControl> => {
    control ??= controlOf(context, tailnet, call);
    return control;
  };
  const devices = await read({ kind: 'devices', key, ...call }, async () =>
    (await (await opened()).listDevices(call)).map(({ deviceId, name, tags, addresses, enabledRoutes }) => ({
      ...{ deviceId, name, tags, addresses, routes: enabledRoutes },
    })),
  );
  if (!isManaged) return [devices];
  return [devices, await read({ kind: 'policy', key, ...call }, async () => (await (await opened()).readPolicy(call)).text)];
}

/** Policies of the namespaces where they stand in for a guard, and of all that have pods where ours are to keep pods apart. */
function policyNamespaces(context: Context, sidecars: readonly StoredSidecar[]): readonly string[] {
  if (!context.settings.networkPolicyEnforced) return [];
  const asked = sidecars.filter(({ spec }) => keepsNetworkPolicies(context) || spec.networkMode === 'userspace');
  return [...new Set(asked.map(({ spec }) => spec.workload.namespace))].sort();
}

const OVER: ReadonlySet<string> = new Set(['Succeeded', 'Failed']);

/** Pods of the attachments, and whose their namespaces are now. */
async function podsInput(context: Context, namespaces: readonly string[], call: Call): Promise<readonly ProofInput[]> {
  if (!keepsNetworkPolicies(context) || !context.settings.networkPolicyEnforced) return [];
  const { cluster, settings } = context;
  const input = await read({ kind: 'pods', key: 'with sidecars', ...call }, async () => {
    const owners = new Map(
      await mapBounded(
        namespaces,
        settings.concurrency,
        async (namespace) => [namespace, await cluster.workloads.customerOf(namespace, call)] as const,
      ),
    );
    // One that has run to its end sends nothing, and somebody else may have its address by now.
    const running = (await cluster.pods.list(call)).filter(({ namespace, phase }) => owners.has(namespace) && !OVER.has(phase));
    return running.flatMap(({ namespace, name, labels, ...pod }) => {
      const [addresses, customerId] = [addressesOfPod(pod), owners.get(namespace)];
      if (addresses.length === 0) return [];
      return [{ ...{ namespace, name, labels, addresses }, ...(customerId === undefined ? {} : { customerId }) }];
    });
  });
  return [input];
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
  const groups = [...Map.groupBy(tailnets, ({ key, spec }) => controlKeyOf(key, spec))];
  const ofControls = await mapBounded(groups, settings.concurrency, (group) => controlInputs(context, group, call));
  const ofSidecars = await mapBounded(sidecars, settings.concurrency, (sidecar) => sidecarInputs(context, sidecar, call));
  const namespaces = policyNamespaces(context, sidecars);
  const ofNamespaces = await mapBounded(namespaces, settings.concurrency, (key) =>
    read({ kind: 'network-policies', key, ...call }, () => cluster.topology.networkPolicies(key, call)),
  );
  const pods = await podsInput(context, namespaces, call);
  const ofTailnets = [...tailnets.map(tailnetInput), ...leaving, ...ofControls.flat()];
  return [await settingsInput(context, call), ...ofTailnets, ...ofSidecars.flat(), ...ofNamespaces, ...pods];
}
