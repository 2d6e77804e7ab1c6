import { reportFromWire } from '@bifrost/types';
import { BifrostError, type InstanceEvent, type ReportAnswerV1, type ReportV1, type Secret } from '@bifrost/types/core';
import { type Assessment, advance, assess, hasRelay } from '../domain/connectivity.ts';
import { mean } from '../domain/mean.ts';
import type { StoredSidecar } from '../domain/model.ts';
import type { Pod, PodIdentity } from '../ports/index.ts';
import type { Call, Context } from './context.ts';
import { refuseFor, requireObject } from './given.ts';
import { guardOrderOf, guardStateOf, noteGuard } from './guard-orders.ts';
import type { Instance, RouterPath } from './instances.ts';
import { notedPeers } from './live-peers.ts';
import type { Observed } from './observed.ts';

const EVENT_OF = {
  connected: 'instance:connected',
  degraded: 'instance:degraded',
  disconnected: 'instance:disconnected',
  unknown: 'instance:lost',
} as const;

/** Moves one instance and tells what changed. The only place where connection states change. */
export function applyFact(context: Context, instance: Instance, assessment: Assessment): void {
  const before = instance.connection;
  const after = advance(before, assessment, context.settings.thresholds);
  instance.connection = after;
  if (after.state === before.state && after.cause === before.cause) return;
  const atMs = context.clock.nowMs();
  if (after.state !== before.state) instance.sinceMs = atMs;
  context.touch('sidecar', instance.sidecarKey);
  if (after.state === 'attaching') return;
  const { tailnetName, customerId, sidecarId, bookDeploymentId, podName, podUid, ipAddress } = instance;
  const event: InstanceEvent = {
    tailnetName,
    customerId,
    sidecarId,
    bookDeploymentId,
    podName,
    podUid,
    atMs,
    state: after.state,
    previousState: before.state,
    ...(after.cause === undefined ? {} : { cause: after.cause }),
    ...(ipAddress === undefined ? {} : { ipAddress }),
  };
  context.events.emit(EVENT_OF[after.state], event);
}

const forbidden = (message: string, paths: readonly string[]): BifrostError =>
  new BifrostError({ code: 'REPORT_FORBIDDEN', message, issues: paths.map((path) => ({ path, message: 'is not that of the token' })) });

/** Which attachment a pod belongs to is told by the uid of its workload, never by what a label or a report says. */
function authorize(observed: Observed, identity: PodIdentity, report: ReportV1): { pod: Pod; sidecar: StoredSidecar } {
  const pod = observed.podOf(identity.podUid);
  if (pod === undefined || pod.namespace !== identity.namespace)
    throw forbidden('The pod of this token is not there any more, or carries no sidecar.', ['podUid']);
  if (pod.unsettled === true)
    throw new BifrostError({
      code: 'CLUSTER_UNAVAILABLE',
      message: 'Whose this pod is cannot be told now: send the report again.',
      retryAfterMs: 1_000,
    });
  const sidecar = pod.workloadUid === undefined ? undefined : observed.sidecarOf(pod.workloadUid);
  if (sidecar === undefined || sidecar.spec.workload.namespace !== pod.namespace)
    throw forbidden("The pod's workload has no sidecar of ours.", ['sidecarId']);
  const wrong = [...(report.podUid === identity.podUid ? [] : ['podUid']), ...(report.sidecarId === sidecar.spec.sidecarId ? [] : ['sidecarId'])];
  if (wrong.length > 0) throw forbidden('The report speaks for another pod or sidecar than its token.', wrong);
  return { pod, sidecar };
}

/** Of the routers that a report names, how they are reached, and since when. */
const routersIn = ({ peers }: ReportV1, before: readonly RouterPath[], nowMs: number): readonly RouterPath[] =>
  peers
    .filter(({ routes }) => (routes?.length ?? 0) > 0)
    .map(({ id, path, online }) => {
      const sinceMs = before.find((was) => was.deviceId === id && was.path === path)?.sinceMs ?? nowMs;
      return { deviceId: id, path, online, sinceMs };
    });

/** @throws {BifrostError} `INVALID_ARGUMENT` — there is no token, or nothing of which to ask for one */
export function requireReport<Given extends { readonly token: Secret }>(given: Given): Given {
  // Not by its class: a token may be of another copy of the types.
  refuseFor(typeof requireObject(given).token?.reveal === 'function' ? [] : [{ path: 'token', message: 'must be a Secret' }]);
  return given;
}

/**
 * Takes one report: proves whose it is, then updates that pod's instance. A repeated or reordered report changes nothing.
 *
 * @throws {BifrostError} `REPORT_UNAUTHENTICATED`, `REPORT_FORBIDDEN`, `REPORT_INVALID`; `CLUSTER_UNAVAILABLE` when the cluster cannot vouch now
 */
export async function ingestReport(
  context: Context,
  { token, document, signal }: { readonly token: Secret; readonly document: unknown } & Call,
): Promise<ReportAnswerV1> {
  const identity = await context.cluster.identities.reviewPodToken(token, { signal });
  if (identity === undefined)
    throw new BifrostError({
      code: 'REPORT_UNAUTHENTICATED',
      message: 'The cluster does not vouch for this token.',
      issues: [{ path: 'authorization', message: 'is no token of a running pod for us' }],
    });
  const report = reportFromWire(document); // only now: strangers are told nothing about what they send
  const { pod, sidecar } = authorize(context.observed, identity, report);
  const nowMs = context.clock.nowMs();
  const instance = context.instances.ensure(sidecar, pod, nowMs);
  const guard = guardOrderOf(context, sidecar, report.guard);
  const answer: ReportAnswerV1 = { v: 1, nextHeartbeatMs: context.settings.heartbeatMs, ...(guard === undefined ? {} : { guard }) };
  if (context.instances.isStale(instance, report)) return answer;
  context.instances.count(instance, report, nowMs);
  const isGuardNews = !instance.reported || instance.guardHolds !== report.guard?.holds;
  instance.heardAtMs = nowMs;
  instance.reported = true;
  instance.guardHolds = report.guard?.holds;
  if (guardStateOf(context, sidecar, instance) === 'current') instance.guardCurrentAtMs = nowMs;
  if (isGuardNews) noteGuard(context, sidecar, instance);
  const identityChanged =
    instance.deviceId !== (report.node.deviceId ?? instance.deviceId) || instance.ipAddress !== (report.node.ips[0] ?? instance.ipAddress);
  instance.deviceId = report.node.deviceId ?? instance.deviceId;
  instance.ipAddress = report.node.ips[0] ?? instance.ipAddress;
  instance.latencyMs = mean(report.peers.map(({ latencyMs }) => latencyMs));
  instance.signs = report.node.signs ?? [];
  instance.peers = notedPeers(instance.peers, report, nowMs);
  instance.routers = routersIn(report, instance.routers, nowMs);
  instance.relayWorks = report.node.reachable && hasRelay(report.node);
  if (identityChanged) context.touch('sidecar', sidecar.key);
  applyFact(context, instance, assess(report, nowMs, context.settings.thresholds));
  return answer;
}

/** Marks instances that have been silent for too long. Called by the loop's tick. */
export function noticeSilence(context: Context): void {
  const nowMs = context.clock.nowMs();
  for (const instance of context.instances.all()) {
    if (nowMs - instance.heardAtMs > context.settings.silenceMs) applyFact(context, instance, { fact: 'silent', cause: 'agent' });
  }
}
