import { BifrostError, type Tenancy } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import type { Verdict } from './support/guarded-ports.ts';
import { OWN_POLICY } from './support/own-policy.ts';
import { ACME, BOOK, SHARED_SECRET, World } from './support/world.ts';

type Form = Tenancy | 'managed';
const wishOf = (form: Form) => (form === 'managed' ? ({ ...ACME, managePolicy: true } as const) : ({ ...ACME, tenancy: form } as const));
const NOTHING = { devices: 0, keys: 0, secrets: 0, tailnets: 0 };

/** A caller that does what errors advise: the same call again after `backoff`, or after the manager was replaced. */
async function insist<T>(world: World, call: () => Promise<T>): Promise<T> {
  for (let attempt = 0; attempt < 10; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      if (!BifrostError.is(error) || (error.retry !== 'backoff' && error.code !== 'MANAGER_STOPPED')) throw error;
      await world.clock.advance(1_000);
    }
  }
  throw new BifrostError({ code: 'INTERNAL', message: 'the call never went through' });
}

/** Create, attach, detach, delete; at each stop what lies outside is read back. `lost`: the one reply that cannot be made good was lost. */
async function wholeLife(world: World, form: Form, lost: () => boolean): Promise<void> {
  // The client of a tailnet that we make is told once: without that reply it is reached by the organization's own client, and has no Secret.
  const made = () => ({ tailnets: form === 'organization' ? 1 : 0, secrets: form === 'organization' && !lost() ? 1 : 0 });
  const before = await world.cluster.readWorkload(await world.addBook());
  await insist(world, () => world.manager.createTailnet(wishOf(form)));
  await world.until(async () => (await world.tailnet())?.state.phase === 'active');
  expect(await world.outside()).toEqual({ ...NOTHING, ...made() });
  const { sidecarId } = await insist(world, () => world.manager.attachSidecar(BOOK));
  await world.until(async () => (await world.sidecars())[0]?.state.phase === 'connected');
  await world.until(() => world.control.keys().length === 1); // one whose reply was lost is revoked
  expect(await world.outside()).toEqual({ devices: 1, keys: 1, secrets: 1 + made().secrets, tailnets: made().tailnets });
  expect(await networkPoliciesOf(world)).toEqual(enforced(form) ? [`bifrost-${sidecarId}-egress`] : []);
  const workload = (await world.sidecars())[0]?.spec.workload;
  await insist(world, () => world.manager.detachSidecar(sidecarId)).catch(expectGone);
  await world.until(async () => (await world.sidecars()).length === 0);
  expect(await world.outside()).toEqual({ ...NOTHING, ...made() });
  expect(await networkPoliciesOf(world)).toEqual([]);
  expect(workload && (await world.cluster.readWorkload(workload))).toEqual(before);
  await insist(world, () => world.manager.deleteTailnet('acme-corp-production')).catch(expectGone);
  await world.until(async () => (await world.tailnet()) === undefined);
  expect(await world.outside()).toEqual(NOTHING);
  expect(await policiesOf(world)).not.toMatch(/bifrost-(customer|router|book)-/);
  await world.run(3_000); // what went with a reply that was lost is missed for a while before it is told
}

/** Half of them live with NetworkPolicies, half without. */
const enforced = (form: Form): boolean => form === 'customer-owned' || form === 'organization';

/** Of tailnets that are not ours, and stay. */
async function policiesOf(world: World): Promise<string> {
  const texts = world.credentials.map((credential) => world.controlPlane.tailnet({ credential }).readPolicy({ signal: AbortSignal.timeout(5_000) }));
  return (await Promise.all(texts)).map(({ text }) => text).join();
}

const networkPoliciesOf = async ({ cluster }: World): Promise<readonly string[]> =>
  (await cluster.networkPolicies.list({ signal: AbortSignal.timeout(5_000) })).map(({ name }) => name);

/** A repeated call whose first try went through after all. */
function expectGone(error: unknown): void {
  if (!BifrostError.is(error) || !['SIDECAR_NOT_FOUND', 'TAILNET_NOT_FOUND'].includes(error.code)) throw error;
}

interface Trouble {
  readonly make: (world: World) => Verdict;
  /** The call at which it costs us the client of a tailnet that we make: the first of that name. */
  readonly losesClientAt?: string;
}

async function live(form: Form, at: number, { make, losesClientAt }: Trouble): Promise<{ readonly world: World; readonly call: string }> {
  await using world = new World({
    settings: { resyncMs: 60_000, networkPolicies: enforced(form) ? 'enforce' : 'off', sharedCredentialSecretName: SHARED_SECRET },
  });
  await world.manager.start();
  await world.addCustomer('acme-corp', form === 'managed' ? { policy: OWN_POLICY } : {});
  if (form === 'shared') await world.addShared();
  let [call, lost] = ['', false];
  world.guard.hook = ({ name, number }) => {
    if (number !== at) return undefined;
    call = name;
    lost = name === losesClientAt && world.guard.names.indexOf(name) === world.guard.names.length - 1;
    return make(world);
  };
  try {
    await wholeLife(world, form, () => lost);
    return { world, call };
  } catch (error) {
    throw new BifrostError({
      code: 'INTERNAL',
      message: `call ${at} (${call}): ${error instanceof Error ? error.message : 'unknown'}`,
      cause: error,
    });
  }
}

/** One life for each call that a clean one makes, with trouble at that call; says at which calls it went wrong. */
async function atEachCall(form: Form, trouble: Trouble, judge: (world: World) => void): Promise<readonly string[]> {
  const { world: clean } = await live(form, 0, trouble);
  expect(clean.names()).toEqual(ONCE);
  const failed: string[] = [];
  for (let number = 1; number <= clean.guard.calls; number += 1) {
    try {
      judge((await live(form, number, trouble)).world);
    } catch (error) {
      failed.push(`${number}: ${error instanceof Error ? error.message : 'unknown'}`);
    }
  }
  return failed;
}

const ONCE = ['tailnet:created', 'tailnet:activated', 'sidecar:attached', 'instance:connected', 'sidecar:detached', 'tailnet:deleted'];
const SIDES = ['before', 'after'] as const;

describe.each<Form>(['customer-owned', 'organization', 'shared', 'managed'])('one call of store, cluster or control plane fails (%s)', (form) => {
  it.each(SIDES)(
    '%s its effect, wherever: all converges, nothing is doubled, each event comes once',
    async (side) => {
      const judge = (world: World): void => expect([...world.names()].sort()).toEqual([...ONCE].sort());
      const trouble: Trouble = { make: () => side, ...(side === 'after' ? { losesClientAt: 'controlPlane.createTailnet' } : {}) };
      expect(await atEachCall(form, trouble, judge)).toEqual([]);
    },
    60_000,
  );
});

describe.each<Form>(['organization', 'shared', 'managed'])(
  'the manager ends at one call of store, cluster or control plane, and another takes over (%s)',
  (form) => {
    it.each(SIDES)(
      '%s its effect, wherever: all converges, nothing is doubled, nothing is told twice',
      async (side) => {
        const judge = (world: World): void => {
          expect(world.names('sidecar:drifted')).toEqual([]); // what a predecessor has begun to write is nobody's edit
          for (const name of ONCE) if (name !== 'instance:connected') expect([name, world.names(name).length <= 1]).toEqual([name, true]);
        };
        const make = (world: World): Verdict => {
          const end = (): void => void world.restart(); // not awaited: the stop waits for this very call
          if (side === 'after') return end;
          end();
          return 'before';
        };
        const trouble: Trouble = { make, losesClientAt: side === 'after' ? 'controlPlane.createTailnet' : 'cluster.secrets.put' };
        expect(await atEachCall(form, trouble, judge)).toEqual([]);
      },
      60_000,
    );
  },
);
