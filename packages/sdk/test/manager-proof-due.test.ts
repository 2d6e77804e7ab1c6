import { parse } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { ProofDue } from '../src/manager/proof-due.ts';
import { ManualClock } from '../src/testing/manual-clock.ts';
import { openShared, type SharedWorld, tagsOf } from './support/shared-world.ts';
import { ACME, BOOK, BOOK_TAG, type Opened, openWorld, type World } from './support/world.ts';

const call = () => ({ signal: AbortSignal.timeout(5_000) });
/** Seldom enough that nothing here is found by it. */
const SELDOM = { proofIntervalMs: 86_400_000, resyncMs: 10_000 };
const OPEN = { src: ['*'], dst: ['*'], ip: ['*'] };

const violations = (world: World) =>
  world.events.filter(({ name }) => name === 'isolation:violated').map(({ event }) => event as { readonly kind: string });
const policyManaged = async (world: World, name?: string) =>
  (await world.tailnet(name))?.state.conditions?.find(({ type }) => type === 'PolicyManaged');

async function openAlone(): Promise<World> {
  const world = await openWorld({ settings: { ...SELDOM, tenancy: 'organization' } });
  await world.manager.attachSidecar(BOOK);
  await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
  return world;
}

/** Without its tests: with them the server would not take it. */
function granting(text: string, grant: object): string {
  const policy = parse(text) as { readonly grants: readonly object[] };
  return JSON.stringify({ ...policy, grants: [...policy.grants, grant], tests: [] });
}

async function addGrant(world: World, grant: object): Promise<void> {
  const control = world.controlPlane.tailnet({ controlId: (await world.tailnet())?.state.controlId ?? '' });
  const { text, etag } = await control.readPolicy(call());
  await control.writePolicy(granting(text, grant), etag, call());
}

describe('isolation is proven soon', () => {
  it('after somebody else has written into a policy of ours, though our entries are whole', async () => {
    await using world = await openAlone();
    await addGrant(world, OPEN);
    await world.until(() => violations(world).length > 0, { limitMs: 60_000 });
    expect(violations(world)).toMatchObject([{ kind: 'beyond-intent', tailnetName: ACME.tailnetName, where: `policy ${ACME.tailnetName}` }]);
  });

  it.each<[string, object]>([
    ['foreign-shell', { ssh: [{ action: 'accept', src: ['autogroup:tagged'], dst: [tagsOf('acme').customer], users: ['root'] }] }],
    ['foreign-approver', { autoApprovers: { routes: { '10.0.0.0/7': ['autogroup:tagged'] } } }],
    ['foreign-owner', { tagOwners: { [BOOK_TAG]: [tagsOf('globex').router] } }],
  ])('after somebody else has written what is no rule of packets: %s', async (kind, sections) => {
    await using world: SharedWorld = await openShared(SELDOM);
    await world.edit((text) => {
      const policy = parse(text) as Readonly<Record<string, object>>;
      const merged = Object.entries(sections).map(([name, section]) => [name, Array.isArray(section) ? section : { ...policy[name], ...section }]);
      return JSON.stringify({ ...policy, ...Object.fromEntries(merged) });
    });
    await world.until(() => violations(world).length > 0, { limitMs: 60_000 });
    expect(new Set(violations(world).map((violation) => violation.kind))).toEqual(new Set([kind]));
  });

  it('after something was not written for what it would open, and its condition says that our entries are not as they are wanted', async () => {
    await using world: SharedWorld = await openShared(SELDOM);
    const whole = await world.text();
    await world.edit((text) => granting(text, OPEN));
    await world.manager.updateTailnet({ tailnetName: 'acme', config: { blockedNetworks: [] }, confirm: true });
    await world.until(() => violations(world).some(({ kind }) => kind === 'reaches-other-customer'), { limitMs: 60_000 });
    await world.until(async () => (await world.tailnet('acme'))?.state.phase === 'degraded');
    expect(await policyManaged(world, 'acme')).toMatchObject({ status: 'False', reason: 'ISOLATION_VIOLATED' });
    await world.edit(() => whole);
    await world.until(async () => (await policyManaged(world, 'acme'))?.status === 'True', { limitMs: 60_000 });
  });

  it.each<[string, (due: ProofDue) => void, number]>([
    ['once', (due) => due.soon(), 5_000],
    ['of another text than was read last', (due) => due.read('a', '2'), 5_000],
    ['of what something was not written over', (due) => due.refused('a', '1'), 5_000],
    ['twin: of the same', (due) => due.read('a', '1'), 60_000],
    ['twin: of what was written by ourselves', (due) => [due.wrote('a', '2'), due.read('a', '2')], 60_000],
    ['twin: of one that is read for the first time', (due) => due.read('b', '2'), 60_000],
    ['twin: of one that was forgotten meanwhile', (due) => [due.forget('a'), due.read('a', '2')], 60_000],
  ])('%s', async (_, happens, afterMs) => {
    const clock = new ManualClock();
    const due = new ProofDue();
    due.read('a', '1');
    const times: number[] = [];
    const wait = () => due.wait(clock, { leastMs: 5_000, mostMs: 60_000, signal: call().signal }).then(() => times.push(clock.nowMs()));
    const fromMs = clock.nowMs();
    const first = wait();
    happens(due);
    await clock.advance(60_000);
    await first;
    const second = wait(); // what was wished for has been served
    await clock.advance(59_999);
    expect(times).toEqual([fromMs + afterMs]);
    await clock.advance(1);
    await second;
  });
});

it('as long as the same stands in the way of a write, it is proven once', async () => {
  const clock = new ManualClock();
  const due = new ProofDue();
  const times: number[] = [];
  const fromMs = clock.nowMs();
  for (let round = 0; round < 3; round += 1) {
    due.refused('a', '1');
    const wait = due.wait(clock, { leastMs: 5_000, mostMs: 60_000, signal: call().signal }).then(() => times.push(clock.nowMs() - fromMs));
    await clock.advance(60_000);
    await wait;
  }
  expect(times).toEqual([5_000, 120_000, 180_000]);
});

describe('while an entry of somebody’s opens one customer to another in shared', () => {
  const opening = (world: SharedWorld) => world.edit((text) => granting(text, { src: ['100.64.0.0/10'], dst: ['100.64.0.0/10'], ip: ['tcp:22'] }));

  it('bug: nothing could be taken away: a narrower configuration is written all the same, and what is deleted goes', async () => {
    await using world = await openShared(SELDOM);
    await world.cluster.createNamespace({ name: 'initech', customerId: 'initech' });
    await world.tailnetFor('initech');
    await opening(world);
    await world.manager.updateTailnet({ tailnetName: 'initech', config: { allowedNetworks: ['10.7.0.0/16'] }, confirm: true });
    await world.until(async () => (await world.text()).includes('10.7.0.0/16'));
    expect((await world.tailnet('initech'))?.state.reason?.code).toBe('ISOLATION_VIOLATED');
    await world.manager.deleteTailnet('initech');
    await world.until(async () => !(await world.text()).includes(tagsOf('initech').customer), { limitMs: 120_000 });
  });

  it('nobody new is let in', async () => {
    await using world = await openShared(SELDOM);
    await opening(world);
    await world.cluster.createNamespace({ name: 'initech', customerId: 'initech' });
    await world.tailnetFor('initech', { awaited: false });
    await world.until(async () => (await world.tailnet('initech'))?.state.reason?.code === 'ISOLATION_VIOLATED');
    expect(await world.text()).not.toContain(tagsOf('initech').customer);
  });
});

describe('NetworkPolicies that would let a book reach other customers’ pods', () => {
  it('are not written, and the attachment says by which; twin: with narrower endpoints they are', async () => {
    const dns = (podLabels: Readonly<Record<string, string>>) => ({
      dns: [{ at: [{ kind: 'pods', namespaceLabels: {}, podLabels } as const], ports: [{ protocol: 'udp', port: 53 } as const] }],
    });
    const settings = { networkPolicies: 'enforce', networkPolicyEndpoints: dns({}) } as const;
    await using world: Opened = await openWorld({ settings });
    await expect(world.manager.planAttach(BOOK)).rejects.toMatchObject({ code: 'ISOLATION_VIOLATED', issues: [{ path: 'networkPolicyEndpoints' }] });
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.reason?.code === 'ISOLATION_VIOLATED');
    expect(await world.cluster.networkPolicies.list(call())).toEqual([]);
    expect(JSON.stringify(await world.cluster.readWorkload(world.book))).not.toContain('bifrost-agent');
    await world.restart({ networkPolicyEndpoints: dns({ 'k8s-app': 'kube-dns' }) });
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected', { limitMs: 120_000 });
  });

  it('bug: that are there already held up all else of a book: what follows them is written, and found by a proof', async () => {
    const networkPolicyEndpoints = {
      dns: [{ at: [{ kind: 'networks', networks: ['10.244.0.0/16'] } as const], ports: [{ protocol: 'udp', port: 53 } as const] }],
    };
    await using world: Opened = await openWorld({ settings: { ...SELDOM, networkPolicies: 'enforce', networkPolicyEnforced: true } });
    await world.manager.attachSidecar(BOOK);
    await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
    await world.restart({ networkPolicyEndpoints });
    await world.until(async () => JSON.stringify(await world.cluster.networkPolicies.list(call())).includes('10.244.0.0/16'));
    expect((await world.sidecars())[0]?.state.phase).toBe('connected');
  });
});
