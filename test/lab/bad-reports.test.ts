import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ControlClient } from './support/control.ts';
import { eventually } from './support/eventually.ts';
import type { PodObject } from './support/kubernetes.ts';
import type { EventLog } from './support/platform.ts';
import { snapshot } from './support/snapshot.ts';
import { Stage } from './support/stage.ts';

// What somebody can send to the port for agents: whose report it is, is told by the token of the pod, and by nothing else.
const stage = new Stage();
const { platform, kubernetes } = stage;
const OURS = 'reports-a';
const THEIRS = 'reports-b';

let controls: readonly ControlClient[] = [];
let sidecarId = '';
let pod: PodObject;
let stranger: PodObject;
let events: EventLog;

const tokenOf = (of: PodObject, audience = 'bifrost'): Promise<string> =>
  kubernetes.serviceAccountToken({ namespace: of.metadata.namespace ?? '', name: 'default' }, audience, of);

/** A report that would matter: the daemon is gone, and a lot was sent. */
const report = (of: PodObject, sidecar = sidecarId) => ({
  v: 1,
  sidecar_id: sidecar,
  pod_uid: of.metadata.uid,
  agent_version: '0.1.0',
  start_id: randomUUID(),
  started_at_ms: Date.now(),
  seq: 0,
  sent_at_ms: Date.now(),
  reason: 'change',
  node: { reachable: false, backend_state: 'NoState', usable: false, ips: [], health: [] },
  rx_bytes: 0,
  tx_bytes: 123_456_789,
  peers: [],
});
/**
 * What the manager says of our sidecar, but for when it last heard of it. The conditions and the version are of the record, which is written a moment
 * after the manager has heard: that is no answer to whoever sends next.
 */
const view = async (): Promise<unknown> => {
  const { instances, conditions: _, etag: _etag, ...sidecar } = await platform.sidecar(sidecarId);
  return { ...sidecar, instances: instances.map(({ last_report_at: _, ...instance }: { last_report_at: string }) => instance) };
};
const bytesSent = async (): Promise<number> => (await platform.must('GET', `/tailnets/${OURS}/status`)).metrics.bytes_sent;

async function bring(name: string): Promise<string> {
  await stage.space(name, name);
  await stage.book({ name: 'book', namespace: name });
  await stage.tailnet({ customer_id: name, tailnet_name: name });
  return stage.attach(`${name}/book`, name, { accept_routes: false });
}

beforeAll(async () => {
  await stage.open();
  controls = await Promise.all([OURS, THEIRS].map((name) => stage.bareCustomer(name)));
  const [ours = '', theirs = ''] = await Promise.all([OURS, THEIRS].map(bring));
  sidecarId = ours;
  await Promise.all([ours, theirs].map((id) => platform.sidecarReaches(id, 'connected', 120_000)));
  [pod, stranger] = await Promise.all([stage.pod(OURS, 'book'), stage.pod(THEIRS, 'book')]);
  events = await platform.follow();
});
afterAll(async () => {
  events?.[Symbol.dispose]();
  await stage[Symbol.asyncDispose]();
});

describe('a report is refused', () => {
  interface Case {
    readonly what: string;
    readonly status: number;
    /** As on the wire. */
    readonly paths: readonly string[];
    readonly token: () => Promise<string> | string | undefined;
    /** @default one about our pod and our sidecar */
    readonly document?: () => unknown;
  }
  const own = () => tokenOf(pod);
  const theirs = () => tokenOf(stranger);
  const unbound = () => kubernetes.serviceAccountToken({ namespace: OURS, name: 'default' }, 'bifrost');
  const cases: readonly Case[] = [
    { what: 'with the token of another customer’s pod', status: 403, paths: ['pod_uid', 'sidecar_id'], token: theirs },
    {
      what: 'with the token of another customer’s pod, about itself',
      status: 403,
      paths: ['sidecar_id'],
      token: theirs,
      document: () => report(stranger),
    },
    { what: 'with the token of a pod that has no sidecar', status: 403, paths: ['pod_uid'], token: platformToken },
    { what: 'about another sidecar', status: 403, paths: ['sidecar_id'], token: own, document: () => report(pod, randomUUID()) },
    { what: 'about another pod', status: 403, paths: ['pod_uid'], token: own, document: () => report(stranger) },
    { what: 'with a token for another audience', status: 401, paths: ['authorization'], token: () => tokenOf(pod, 'another') },
    { what: 'with a token that is bound to no pod', status: 401, paths: ['authorization'], token: unbound },
    { what: 'with garbage for a token', status: 401, paths: ['authorization'], token: () => 'garbage' },
    { what: 'without a token', status: 401, paths: ['authorization'], token: () => undefined },
    { what: 'when it is no report', status: 400, paths: ['tx_bytes'], token: own, document: () => ({ ...report(pod), tx_bytes: -1 }) },
  ];
  async function platformToken(): Promise<string> {
    const [caller] = await kubernetes.readyPods('platform', 'app=book-controller');
    return kubernetes.serviceAccountToken({ namespace: 'platform', name: 'book-controller' }, 'bifrost', caller);
  }

  test.each(cases)('$what', async ({ status, paths, token, document = () => report(pod) }) => {
    const [before, seen, sent] = [await snapshot(kubernetes, controls), await view(), await bytesSent()];
    const code = { 400: 'REPORT_INVALID', 401: 'REPORT_UNAUTHENTICATED', 403: 'REPORT_FORBIDDEN' }[status];
    const answer = await platform.report(await token(), document());
    expect(answer).toMatchObject({ status, body: { code } });
    expect(answer.body.issues.map(({ path }: { path: string }) => path).sort()).toEqual(paths);
    expect(await view()).toEqual(seen);
    expect((await bytesSent()) - sent).toBeLessThan(1_000_000);
    expect(await snapshot(kubernetes, controls)).toEqual(before);
    expect(events.events).toEqual([]);
  });
});

test('the twin, with the token of the pod itself, is taken; once the pod is deleted, its token is dead', async () => {
  const token = await tokenOf(pod);
  expect(await platform.report(token, report(pod))).toMatchObject({ status: 200, body: { v: 1 } });
  const lost = await events.next('disconnected', ({ event_type }) => event_type === 'disconnected');
  expect(lost.details).toMatchObject({ pod_name: pod.metadata.name, cause: 'pod' });
  expect(await bytesSent()).toBeGreaterThan(123_456_788);

  await kubernetes.deleteAndWait({ apiVersion: 'v1', kind: 'Pod', metadata: pod.metadata });
  await eventually(
    'another pod is connected',
    async () => {
      const { status, instances } = await platform.sidecar(sidecarId);
      return status === 'connected' && instances.length === 1 && instances[0].pod_uid !== pod.metadata.uid;
    },
    { timeoutMs: 80_000 },
  );
  const seen = await view();
  const answer = await platform.report(token, report(pod));
  expect([401, 403]).toContain(answer.status);
  expect(answer.body.code).toMatch(/^REPORT_(UNAUTHENTICATED|FORBIDDEN)$/);
  expect(await view()).toEqual(seen);
}, 120_000);
