import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CONTAINERS, LABELS } from '../src/domain/names.ts';
import type { PodTemplateShape } from '../src/domain/pod-shape.ts';
import { verifyProof } from '../src/manager/prove-calls.ts';
import { denying, restrictedWorld } from './support/userspace.ts';
import { ACME, BOOK, type Opened, openWorld } from './support/world.ts';

const SAFE = {
  containers: [
    { name: 'book', image: 'book:1', env: [{ name: 'PASSWORD', value: 'hunter2-CANARY' }], securityContext: { capabilities: { drop: ['ALL'] } } },
  ],
};
const KEY = 'acme-corp/deployment-customer-support-book';
type Edit = (template: PodTemplateShape) => PodTemplateShape;

const init = (template: PodTemplateShape, change: (all: NonNullable<PodTemplateShape['spec']['initContainers']>) => unknown): PodTemplateShape =>
  ({ ...template, spec: { ...template.spec, initContainers: change(template.spec.initContainers ?? []) } }) as PodTemplateShape;
const onGuard = (template: PodTemplateShape, change: (text: string) => string): PodTemplateShape =>
  init(template, (all) =>
    all.map((each) => (each.name === CONTAINERS.guard ? { ...each, command: (each['command'] as string[]).map(change) } : each)),
  );
const bookMay = (template: PodTemplateShape, add: string): PodTemplateShape => ({
  ...template,
  spec: {
    ...template.spec,
    containers: template.spec.containers.map((each) => ({ ...each, securityContext: { capabilities: { drop: ['ALL'], add: [add] } } })),
  },
});
const labelled = (template: PodTemplateShape, label: string): PodTemplateShape => ({
  ...template,
  metadata: { ...template.metadata, labels: { ...template.metadata?.labels, [label]: 'another' } },
});

describe('pods of an older template, while the workload’s own is as it should be', () => {
  let world: Opened;
  beforeEach(async () => {
    world = await openWorld({ book: SAFE });
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars()).every(({ state }) => state.phase === 'connected'));
  });
  let held: Disposable | undefined;
  const release = () => {
    held?.[Symbol.dispose]();
    held = undefined;
  };
  afterEach(async () => {
    release();
    await world[Symbol.asyncDispose]();
  });

  const pods = async () => (await world.cluster.pods.list({ signal: AbortSignal.timeout(5_000) })).map(({ name }) => `acme-corp/${name}`);
  const settled = async () => world.until(async () => (await pods()).length === 1);
  const proven = async () => (await world.manager.proveIsolation()).proof;

  /** A pod of the template as `edit` makes it stays when the template has long been put back: a rollout that does not come to its end. */
  async function hanging(edit: Edit): Promise<string> {
    world.manager.setReadOnly(true); // whatever the loop would do of it
    const [before] = await pods();
    let original: PodTemplateShape | undefined;
    await world.cluster.updateWorkload(world.book, (template) => {
      original = template;
      return edit(template);
    });
    await world.until(async () => !(await pods()).includes(before ?? ''));
    const [pod = ''] = await pods();
    held = world.agents.holdPods();
    await world.cluster.updateWorkload(world.book, (template) => original ?? template);
    await world.until(async () => (await pods()).length === 2);
    return pod;
  }

  it.each<[string, string, string, Edit]>([
    [
      'no guard',
      'guard-missing',
      'no guard among its init containers',
      (template) => init(template, (all) => all.filter(({ name }) => name !== CONTAINERS.guard)),
    ],
    [
      'a guard without a rule',
      'fails-open',
      '5130 from all lookup main',
      (template) => onGuard(template, (text) => text.replace('add 4 5120 to 10.0.0.0/8 prohibit\n', '')),
    ],
  ])('are judged: %s is named with one of them; twin: once they are gone nothing is', async (_, kind, by, edit) => {
    const pod = await hanging(edit);
    const { findings, verdict } = await proven();
    const expected = { layer: 'guard', kind, tailnetName: ACME.tailnetName, customerId: 'acme-corp', by, where: `pod ${pod}` };
    expect([verdict, findings]).toEqual(['open', [expected]]);
    release();
    await settled();
    expect((await proven()).findings).toEqual([]);
  });

  it.each<[string, string, string, Edit]>([
    ['what their containers may do', 'cooperative', 'book-may-bypass', (template) => bookMay(template, 'NET_ADMIN')],
    ['a guard that is none that is known', 'unproven', 'guard-outdated', (template) => onGuard(template, (text) => `${text}\n# of nobody`)],
    ['the node’s network', 'unproven', 'node-network', (template) => ({ ...template, spec: { ...template.spec, hostNetwork: true } })],
  ])('are judged by %s', async (_, assurance, reason, edit) => {
    const pod = await hanging(edit);
    const { verdict, findings, reservations } = await proven();
    expect([verdict, findings]).toEqual(['apart', []]);
    const ofPods = reservations.filter(({ subject }) => subject.startsWith('pod '));
    expect(ofPods).toEqual([{ layer: 'guard', assurance, reason, subject: `pod ${pod}` }]);
  });

  it('of userspace mode are judged by the NetworkPolicies that select their own labels', async () => {
    await world[Symbol.asyncDispose]();
    world = await restrictedWorld({ policies: [{ ...denying(), podSelector: { matchExpressions: [{ key: 'canary', operator: 'DoesNotExist' }] } }] });
    await world.manager.attachSidecar({ ...BOOK, config: { ...BOOK.config, networkMode: 'userspace' } });
    await world.until(async () => (await world.sidecars()).every(({ state }) => state.phase === 'connected'));
    expect((await proven()).findings).toEqual([]);
    const pod = await hanging((template) => labelled(template, 'canary'));
    expect((await proven()).findings).toEqual([
      expect.objectContaining({ kind: 'userspace-unguarded', by: 'NetworkPolicies of its namespace', where: `pod ${pod}` }),
    ]);
  });

  it('are judged by their own label', async () => {
    const pod = await hanging((template) => labelled(template, LABELS.sidecarId));
    expect((await proven()).findings).toEqual([
      expect.objectContaining({ layer: 'identity', kind: 'foreign-sidecar', by: 'the label of its pods', where: `pod ${pod}` }),
    ]);
  });

  it('are judged when the template carries nothing any more', async () => {
    world.manager.setReadOnly(true);
    held = world.agents.holdPods();
    const [pod = ''] = await pods();
    await world.cluster.updateWorkload(world.book, (template) => init({ ...template, metadata: {} }, () => []));
    const { findings, reservations } = await proven();
    expect([findings, reservations.filter(({ reason }) => reason === 'no-workload')]).toEqual([[], []]);
    await world.cluster.createNamespace({ name: 'acme-corp', customerId: 'globex' });
    expect((await proven()).findings).toContainEqual(
      expect.objectContaining({ kind: 'foreign-namespace', otherCustomerId: 'globex', by: 'namespace acme-corp', where: `pod ${pod}` }),
    );
  });

  it('are judged by what was added to debug them; twin: a container that may do nothing of the kind', async () => {
    const withDebugger =
      (drop: readonly string[]): Edit =>
      (template) => ({
        ...template,
        spec: { ...template.spec, ephemeralContainers: [{ name: 'debugger', securityContext: { capabilities: { drop } } }] },
      });
    const reasons = async () => (await proven()).reservations.filter(({ subject }) => subject.startsWith('pod ')).map(({ reason }) => reason);
    await hanging(withDebugger([]));
    expect(await reasons()).toEqual(['book-may-bypass']);
    release();
    await settled();
    await hanging(withDebugger(['ALL']));
    expect(await reasons()).toEqual([]);
  });

  it('of another namespace are nobody’s of this attachment, whatever they say of their owner; twin: in its own they are', async () => {
    const { list } = world.cluster.pods;
    const { uid } = (await world.sidecars())[0]?.spec.workload ?? {};
    const [own] = await world.cluster.pods.list({ signal: AbortSignal.timeout(5_000) });
    if (own === undefined || uid === undefined) throw new Error('no pod');
    let namespace = 'globex';
    const forged = () => ({ ...own, namespace, name: 'forged', uid: 'forged', workloadUid: uid, form: { containers: [] } });
    world.cluster.pods.list = async (options) => [...(await list.call(world.cluster.pods, options)), forged()];
    expect((await proven()).findings).toEqual([]);
    namespace = own.namespace;
    expect((await proven()).findings).toEqual([expect.objectContaining({ kind: 'guard-missing', where: `pod ${namespace}/forged` })]);
  });

  it('in a namespace of nobody’s are asked of once, however many they are', async () => {
    const { list } = world.cluster.pods;
    world.cluster.pods.list = async (options) =>
      (await list.call(world.cluster.pods, options)).flatMap((pod) => ['a', 'b', 'c'].map((name) => ({ ...pod, name, uid: name })));
    world.manager.setReadOnly(true);
    held = world.agents.holdPods();
    await world.cluster.updateWorkload(world.book, (template) => init({ ...template, metadata: {} }, () => []));
    await world.cluster.createNamespace({ name: 'acme-corp' });
    const from = world.guard.names.length;
    expect((await proven()).findings).toContainEqual(expect.objectContaining({ kind: 'foreign-namespace', where: 'pod acme-corp/a' }));
    expect(world.guard.names.slice(from).filter((name) => name === 'cluster.workloads.customerOf')).toHaveLength(1);
  });

  it('are read by one list and no call for each, are in the inputs only where they differ, and hold no secret', async () => {
    const from = world.guard.names.length;
    const { proof, inputs } = await world.manager.proveIsolation();
    const asked = world.guard.names.slice(from).filter((name) => name.startsWith('cluster.'));
    expect(asked.filter((name) => name === 'cluster.pods.list')).toHaveLength(1);
    expect(asked.filter((name) => name === 'cluster.workloads.customerOf')).toEqual([]);
    const told = (all: typeof inputs) => JSON.parse(all.find(({ name }) => name === 'running pods unlike their template')?.text ?? 'null');
    expect(told(inputs)).toEqual([]);
    const pod = await hanging((template) => onGuard(template, (text) => `${text}\n# of nobody`));
    const later = await world.manager.proveIsolation();
    expect(told(later.inputs)).toEqual([expect.objectContaining({ sidecar: KEY, pod, pods: 1, labels: {} })]);
    expect(JSON.stringify(later.inputs)).not.toContain('CANARY');
    expect([verifyProof(proof, inputs), verifyProof(later.proof, later.inputs)]).toEqual([[], []]);
  });

  it('leave the layer unproven where they cannot be read', async () => {
    world.guard.hook = ({ name }) => (name === 'cluster.pods.list' ? 'before' : undefined);
    const { verdict, layers, reservations } = await proven();
    expect([verdict, layers.find(({ layer }) => layer === 'guard')?.assurance]).toEqual(['apart', 'unproven']);
    expect(reservations).toContainEqual({
      ...{ layer: 'guard', assurance: 'unproven', reason: 'not-read', subject: 'running pods unlike their template', code: 'CLUSTER_UNAVAILABLE' },
    });
  });

  it('and a template that an update changes while a proof is read are no finding; twin: one that somebody else changes is', async () => {
    const signal = AbortSignal.timeout(20_000);
    const image = async () => {
      const found = await world.cluster.workloads.get(world.book, { signal });
      return found?.template.spec.initContainers?.find(({ name }) => name === CONTAINERS.guard)?.image;
    };
    const meanwhile = (change: () => unknown): void => world.guard.once('.listDevices', change);
    meanwhile(async () => {
      const [sidecar] = await world.sidecars();
      if (sidecar === undefined) throw new Error('no sidecar');
      const { config, fragment } = sidecar.spec;
      const initContainers = fragment.initContainers.map((each) => (each.name === CONTAINERS.guard ? { ...each, image: 'guard:2' } : each));
      const spec = { ...sidecar.spec, fragment: { ...fragment, initContainers }, previous: { config, fragment } };
      await world.store.sidecars.replaceSpec(sidecar, spec, { signal });
      await world.until(async () => (await image()) === 'guard:2');
    });
    expect((await proven()).findings).toEqual([]);
    expect(await image()).toBe('guard:2');
    meanwhile(async () => {
      world.manager.setReadOnly(true);
      await world.cluster.updateWorkload(world.book, (template) => onGuard(template, (text) => `${text}\n# of nobody`));
    });
    expect((await proven()).findings).toEqual([expect.objectContaining({ kind: 'guard-altered', where: `workload ${KEY}` })]);
  });

  it('that an update brings are no finding while they come: what was put in is known', async () => {
    held = world.agents.holdPods();
    const { sidecarId } = (await world.manager.listSidecars({}))[0] ?? {};
    await world.manager.updateSidecar({ sidecarId: sidecarId ?? '', config: { acceptRoutes: false }, allowRollout: true });
    await world.until(async () => (await pods()).length === 2);
    expect(await proven()).toMatchObject({ verdict: 'apart', findings: [] });
    release();
    await settled();
    expect(await proven()).toMatchObject({ verdict: 'apart', findings: [] });
  });
});
