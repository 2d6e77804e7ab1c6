import type { AttachSidecarInput } from '@bifrost/types';
import { type AttachSidecarResponse, BifrostError, type Made, type NetworkPolicyPlan, type WorkloadReference } from '@bifrost/types/core';
import { withFragment } from '../domain/attach-plan.ts';
import type { AttachForm, SidecarSpec, StoredSidecar } from '../domain/model.ts';
import { attachmentKey, WORKLOAD_ANNOTATIONS } from '../domain/names.ts';
import type { PodTemplateShape, SidecarFragment } from '../domain/pod-shape.ts';
import { audited } from './audited.ts';
import { requireConsents } from './consents.ts';
import { type Call, type Context, type Found, respecSidecar, sawSidecar } from './context.ts';
import { type Change, requireMatch, writeMatched } from './etags.ts';
import { isNews, removeSame } from './remove-same.ts';
import { inScope, isVisible } from './scope.ts';
import { type AttachCall, agreeing, checkAttach, hostnameLock } from './sidecar-check.ts';
import { planNetworkPolicies } from './sidecar-network-policies.ts';
import { attachResponse } from './sidecar-view.ts';
import { gone } from './tailnet-calls.ts';

/** What an attach would do, exactly: nothing of it has been written. */
export interface AttachPlan {
  readonly sidecarId: string;
  readonly workload: WorkloadReference;
  /** Server-side apply, or prepended by JSON Patch where the pod has init containers of its own. */
  readonly form: AttachForm;
  /** What is added to the pod template. */
  readonly fragment: SidecarFragment;
  /** The pod template as it would then be. */
  readonly template: PodTemplateShape;
  /** True when it is attached already: the call would change nothing. */
  readonly attached: boolean;
  /** NetworkPolicies for the book, and what its pods lose by them. Absent while they are not used (`networkPolicies: 'off'`). */
  readonly networkPolicies?: NetworkPolicyPlan;
}

type Caller = Change;

/** @see NetworkManager.planAttach */
export async function planAttach(context: Context, input: AttachSidecarInput, call: Call): Promise<AttachPlan> {
  const { workload, spec, present, tailnet } = await checkAttach(context, input, call);
  const { config } = tailnet.spec;
  const networkPolicies = await planNetworkPolicies(context, { spec, template: workload.template }, { ...call, config });
  const attached = present !== undefined && present.state.rolledBack !== true;
  const template = attached ? workload.template : withFragment(workload.template, spec.fragment);
  const plan = { sidecarId: spec.sidecarId, workload: workload.reference, form: spec.form, fragment: spec.fragment, template, attached };
  return networkPolicies === undefined ? plan : { ...plan, networkPolicies };
}

/** @see NetworkManager.attachSidecar */
export async function attachSidecar(context: Context, input: AttachSidecarInput, call: Caller & AttachCall): Promise<Made<AttachSidecarResponse>> {
  const subject = input?.bookDeploymentId;
  const hostname = await hostnameLock(context, input, call);
  const attach = (): Promise<Found<StoredSidecar>> =>
    audited(
      context,
      { call, action: 'attachSidecar', subject },
      {
        check: () => checkAttach(context, input, call),
        write: async ({ spec, present }) => {
          // Also where one was found: it may be an old version of what is gone, and a call that wrote nothing would be answered as done.
          const found = present?.state.rolledBack ? await tryAnew(context, present, { spec, ...call }) : await createOrFind(context, spec, call);
          sawSidecar(context, found.stored.key, found.stored); // before the next attach looks for this hostname
          return found;
        },
      },
    );
  const found = await context.attaching.run(hostname, call, attach);
  context.touch('sidecar', found.stored.key);
  return attachResponse(context, found);
}

const NEW = { phase: 'attaching', instances: [], keys: [], deviceIds: [] } as const;

/** Stores what is wanted; somebody who was quicker with the same wish is as good. @throws {BifrostError} `SIDECAR_EXISTS` */
export async function createOrFind(context: Context, spec: SidecarSpec, call: Call): Promise<Found<StoredSidecar>> {
  const key = attachmentKey(spec.workload);
  try {
    return { stored: await context.store.sidecars.create(key, { spec, state: NEW }, call), created: true };
  } catch (error) {
    if (!BifrostError.is(error) || error.code !== 'STORE_EXISTS') throw error;
    const winner = await context.store.sidecars.get(key, call);
    if (winner === undefined) throw gone(error);
    return { stored: agreeing(winner, spec), created: false };
  }
}

/** One that failed and was taken back begins again with what is rendered now; its ledger stays. */
async function tryAnew(
  context: Context,
  present: StoredSidecar,
  { spec, signal }: { readonly spec: SidecarSpec } & Call,
): Promise<Found<StoredSidecar>> {
  const { conditions, keys, deviceIds, networkPolicies } = present.state;
  const respecified = await respecSidecar(context, present, { spec, signal });
  const state = {
    ...{ ...NEW, keys, deviceIds },
    ...(conditions === undefined ? {} : { conditions }),
    ...(networkPolicies === undefined ? {} : { networkPolicies }),
  };
  return { stored: await context.store.sidecars.replaceState(respecified, state, { signal }), created: true };
}

/**
 * The stored sidecar of that id: by what the watches have seen, else by looking through all. Others' are looked for as if nobody had seen them: the calls
 * that are made are those for an id that nobody has, so that the time tells nothing.
 */
export async function findSidecar(context: Context, sidecarId: string, call: Call): Promise<StoredSidecar | undefined> {
  const seen = context.observed.keyOfSidecar(sidecarId);
  const key = seen !== undefined && isVisible(context.observed.customerOf(seen), call.scope) ? seen : undefined;
  const stored = key === undefined ? undefined : await context.store.sidecars.get(key, call);
  if (stored?.spec.sidecarId === sidecarId) return stored;
  return (await context.store.sidecars.list(call)).find(({ spec }) => spec.sidecarId === sidecarId);
}

/** @throws {BifrostError} `SIDECAR_NOT_FOUND` */
export async function requireSidecar(context: Context, sidecarId: string, call: Call): Promise<StoredSidecar> {
  const sidecar = inScope(await findSidecar(context, sidecarId, call), call);
  if (sidecar !== undefined) return sidecar;
  throw new BifrostError({
    code: 'SIDECAR_NOT_FOUND',
    message: 'No sidecar of this id: look at listSidecars().',
    issues: [{ path: 'sidecarId', message: 'is not known' }],
  });
}

/** @see NetworkManager.detachSidecar */
export async function detachSidecar(
  context: Context,
  { sidecarId, abandon = false }: { readonly sidecarId: string; readonly abandon?: boolean },
  call: Change,
): Promise<void> {
  await audited(
    context,
    { call, action: 'detachSidecar', subject: sidecarId },
    {
      check: async () => {
        requireConsents({ abandon });
        const sidecar = await requireSidecar(context, sidecarId, call);
        requireMatch(sidecar, call);
        await requireDetachable(context, sidecar, call);
        return sidecar;
      },
      write: async (sidecar) => {
        await removeSidecar(context, { sidecar, abandon }, call);
        (isNews(sidecar, abandon) ? context.urge : context.touch)('sidecar', sidecar.key);
      },
    },
  );
}

async function removeSidecar(
  context: Context,
  { sidecar, abandon }: { readonly sidecar: StoredSidecar; readonly abandon: boolean },
  call: Change,
): Promise<void> {
  const { signal } = call;
  const { sidecars } = context.store;
  const isSame = ({ spec }: StoredSidecar): boolean => spec.sidecarId === sidecar.spec.sidecarId;
  if (!abandon || sidecar.spec.abandon === true) {
    await removeSame(sidecars, sidecar, { signal, isSame, check: (found) => requireMatch(found, call) });
    return;
  }
  // The wish to abandon first: once it is being removed the loop acts.
  const write = (current: StoredSidecar): Promise<StoredSidecar> => respecSidecar(context, current, { spec: { ...current.spec, abandon }, signal });
  const abandoned = await writeMatched(sidecars, sidecar, { ...call, write });
  // That write matched: what comes after it comes too late to be asked for.
  await removeSame(sidecars, abandoned, { signal, isSame });
}

/** @throws {BifrostError} `ATTACHED_BY_ANNOTATION`, `OWNED_BY_CREATOR` — what would come back at once, or what is not ours to take out */
async function requireDetachable(context: Context, { spec, deleting }: StoredSidecar, call: Call): Promise<void> {
  const { origin = 'call', mode = 'apply' } = spec;
  if (deleting || (origin === 'call' && mode === 'apply')) return;
  const workload = await context.cluster.workloads.get(spec.workload, call);
  if (workload === undefined) return;
  if (origin === 'annotation' && workload.annotations[WORKLOAD_ANNOTATIONS.tailnet] !== undefined)
    throw new BifrostError({
      code: 'ATTACHED_BY_ANNOTATION',
      message: `The workload asks for its sidecar: remove its annotation ${WORKLOAD_ANNOTATIONS.tailnet} to detach it.`,
      issues: [{ path: 'sidecarId', message: 'is attached by annotation' }],
      details: { annotation: WORKLOAD_ANNOTATIONS.tailnet },
    });
  if (mode === 'inject' && !workload.finished) throw ownedByCreator(spec, 'Delete the workload, or create it without its sidecar, to detach it.');
}

/** The creator's fields are left alone; the error holds what belongs into their manifest. */
export const ownedByCreator = (spec: SidecarSpec, advice: string): BifrostError =>
  new BifrostError({
    code: 'OWNED_BY_CREATOR',
    message: `The workload was created with its sidecar in it, so its creator owns it. ${advice}`,
    issues: [{ path: 'sidecarId', message: 'was injected' }],
    details: { fragment: JSON.stringify(spec.fragment) },
  });
