import { BifrostError } from '@bifrost/types/core';
import type { StoredSidecar } from '../domain/model.ts';
import { attachmentKey, LABELS, WORKLOAD_ANNOTATIONS } from '../domain/names.ts';
import { isCutOff } from '../domain/quarantine.ts';
import type { StoreHint, WorkloadHint } from '../ports/index.ts';
import { type Call, type Context, interruptPaused } from './context.ts';
import { noticeSilence } from './ingest.ts';
import { proveAgain } from './prove-calls.ts';
import { describeError } from './unexpected.ts';

const REOPEN_MS = 1_000;
/** Between two proofs, whoever wishes for one. */
const PROOF_PAUSE_MS = 5_000;

/** Runs until abort: watches give hints, the resync forgives any hint that was lost, the tick notices silence. */
export async function runLoops(context: Context, { signal }: Call): Promise<void> {
  await Promise.allSettled([
    reopening(context, { what: 'tailnets', signal, watch: () => watchTailnets(context, { signal }) }),
    reopening(context, { what: 'sidecars', signal, watch: () => watchSidecars(context, { signal }) }),
    reopening(context, { what: 'workloads', signal, watch: () => watchWorkloads(context, { signal }) }),
    reopening(context, { what: 'pods', signal, watch: () => watchPods(context, { signal }) }),
    proving(context, { signal }),
    every(context, context.settings.resyncMs, { signal, work: () => resync(context, { signal }) }),
    every(context, Math.max(50, Math.floor(context.settings.silenceMs / 10)), { signal, work: async () => noticeSilence(context) }),
  ]);
}

async function watchTailnets(context: Context, { signal }: Call): Promise<void> {
  for await (const { key, version } of context.store.tailnets.watch({ signal }))
    context.hint('tailnet', key, (call) => lookAtTailnet(context, { key, version }, call));
}

/** One read: the hint may be older than our own last write, and a round asks for much more. Where it fails, a round tells why. */
async function lookAtTailnet(context: Context, { key, version }: StoreHint, call: Call): Promise<void> {
  const { store, announcer, touch, urge } = context;
  if (version !== undefined && announcer.hasSeen('tailnet', key, version)) return;
  try {
    const tailnet = await store.tailnets.get(key, call);
    if (announcer.hasSeen('tailnet', key, tailnet?.version)) return;
    if (tailnet?.spec.paused === true) interruptPaused(context, key);
    if (tailnet?.deleting === true) return urge('tailnet', key);
  } catch (error) {
    if (!BifrostError.is(error)) throw error;
  }
  touch('tailnet', key);
}

const isToCut = (sidecar: StoredSidecar): boolean => sidecar.spec.quarantine !== undefined && !isCutOff(sidecar);

async function watchSidecars(context: Context, { signal }: Call): Promise<void> {
  for await (const { key, version } of context.store.sidecars.watch({ signal }))
    context.hint('sidecar', key, (call) => lookAtSidecar(context, { key, version }, call));
}

async function lookAtSidecar({ store, announcer, observed, touch, urge }: Context, { key, version }: StoreHint, call: Call): Promise<void> {
  if (version !== undefined && version === observed.versionOf(key) && announcer.hasSeen('sidecar', key, version)) return;
  try {
    const sidecar = await store.sidecars.get(key, call);
    // One that was known and is not found is for the round to miss, unless its watch says so too: until then its pods' reports are taken.
    const isGone = version === undefined || announcer.customerOf('sidecar', key) === undefined;
    if (sidecar !== undefined || isGone) observed.sawSidecar(key, sidecar);
    if (announcer.hasSeen('sidecar', key, sidecar?.version)) return;
    // What is to go, or to be cut off, waits for no pause that something else has earned.
    if (sidecar?.deleting === true || (sidecar !== undefined && isToCut(sidecar))) return urge('sidecar', key);
  } catch (error) {
    if (!BifrostError.is(error)) throw error;
  }
  touch('sidecar', key);
}

const isAnnotated = (hint: WorkloadHint | undefined): boolean => hint !== undefined && WORKLOAD_ANNOTATIONS.tailnet in hint.annotations;

async function watchWorkloads(context: Context, { signal }: Call): Promise<void> {
  for await (const hint of context.cluster.workloads.watch({ signal }))
    context.hint('workload', attachmentKey(hint.workload), async () => lookAtWorkload(context, hint));
}

/** A change of a workload concerns its attachment, as drift or as its end, and what its annotations ask for. */
function lookAtWorkload({ observed, touch }: Context, hint: WorkloadHint): void {
  const key = attachmentKey(hint.workload);
  const before = observed.workloadOf(key);
  const seen = observed.sawWorkload(key, hint);
  // Of a Job only the status tells its end, and that is no change of its spec.
  if (seen === 'old' && hint.workload.kind !== 'Job') return;
  const isAttached = observed.hasSidecar(key);
  if (isAttached && seen !== 'own') touch('sidecar', key);
  if (isAnnotated(hint) || isAnnotated(before) || observed.originOf(key) === 'annotation') touch('workload', key);
  else if (!isAttached) observed.forgetWorkload(key);
}

async function watchPods(context: Context, { signal }: Call): Promise<void> {
  const { observed } = context;
  for await (const { uid, pod } of context.cluster.pods.watch({ signal })) {
    const key = observed.keyOfPod(pod ?? observed.podOf(uid)) ?? context.instances.get(uid)?.sidecarKey;
    observed.sawPod(uid, pod);
    if (key !== undefined) context.touch('sidecar', key);
    else if (pod?.labels[LABELS.sidecarId] !== undefined)
      context.logger.log('debug', 'a pod with our label belongs to no attachment', { pod: pod.name, namespace: pod.namespace });
  }
}

/** Looks at everything that is there, and at everything that should be: what went while a watch was down sends no hint. */
export async function resync(context: Context, call: Call): Promise<void> {
  const { known } = context.announcer;
  const { observed } = context;
  const tailnets = (await context.store.tailnets.list(call)).map(({ key }) => key);
  for (const key of new Set([...tailnets, ...known.tailnets])) context.touch('tailnet', key);
  const sidecars = await context.store.sidecars.list(call);
  const listed = new Set(sidecars.map(({ key }) => key));
  const seen = new Set(observed.sidecarKeys);
  // Read anew where the two differ: the list may be older than what the watch has told.
  for (const key of listed.symmetricDifference(seen)) observed.sawSidecar(key, await context.store.sidecars.get(key, call));
  for (const key of new Set([...listed, ...seen, ...known.sidecars])) context.touch('sidecar', key);
  // Those that have a sidecar by annotation and may ask for none any more, and those that ask for one.
  const annotated = sidecars.filter(({ spec: { origin } }) => origin === 'annotation').map(({ key }) => key);
  for (const key of new Set([...annotated, ...observed.annotatedKeys])) context.touch('workload', key);
}

/** A watch that fails is opened again; what it missed comes with its first hints. */
async function reopening(
  context: Context,
  { what, watch, signal }: Call & { readonly what: string; readonly watch: () => Promise<void> },
): Promise<void> {
  while (!signal.aborted) {
    try {
      await watch();
    } catch (error) {
      if (signal.aborted) return;
      context.logger.log('warn', 'a watch failed and is opened again', { what, error: describeError(error) });
    }
    await context.clock.sleep(REOPEN_MS * (0.5 + context.clock.random()), { signal }).catch(() => {});
  }
}

async function proving(context: Context, { signal }: Call): Promise<void> {
  const { proofIntervalMs: mostMs } = context.settings;
  const leastMs = Math.min(mostMs, PROOF_PAUSE_MS);
  const wait = (): Promise<void> => context.proofDue.wait(context.clock, { leastMs, mostMs, signal });
  const prove = async (): Promise<void> => {
    try {
      await proveAgain(context, { signal });
    } catch (error) {
      context.proofDue.soon(); // whoever wished for it has not got it
      throw error;
    }
  };
  if (mostMs > 0) await again(context, { signal, wait, work: prove });
}

const every = (context: Context, intervalMs: number, { signal, work }: Call & { readonly work: () => Promise<void> }): Promise<void> =>
  again(context, { signal, work, wait: () => context.clock.sleep(intervalMs, { signal }) });

interface Repeated extends Call {
  readonly wait: () => Promise<void>;
  readonly work: () => Promise<void>;
}

async function again(context: Context, { signal, wait, work }: Repeated): Promise<void> {
  while (!signal.aborted) {
    await wait().catch(() => {});
    if (signal.aborted) return;
    await work().catch((error: unknown) => {
      if (!signal.aborted) context.logger.log('warn', 'a round failed', { error: describeError(error) });
    });
  }
}
