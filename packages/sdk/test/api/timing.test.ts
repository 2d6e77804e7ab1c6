import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BOOK } from '../support/world.ts';
import { Served, TAILNET } from './support/served.ts';

/**
 * The statement: of two REST calls that are made in pairs, in random order, over one kept connection, the first takes longer in a share of the pairs that is
 * not further from a half than 0.1. It is a sign test: without a difference the wins of one side are binomial(N, 1/2), whatever the times are distributed
 * like and however the machine drifts or is loaded, since both of a pair meet the same moment.
 *
 * N = 1500 pairs: the share has a standard deviation of 0.013, so that without a difference it leaves the bound with p < 1e-13 (7.7 of them); with a true
 * share of 0.55, which is what a difference of a sixth of the noise's deviation would give, with p < 1e-4. So it fails only for a real effect. Planted, a
 * read of a list more is found in the last test. That not one read differs is held without statistics by foreign-reads.test.ts; what is left is what is no
 * read: the copy that a store makes of what it found.
 */
const PAIRS = 1_500;
const WARM_UP = 200;
const BOUND = 0.1;

type Probe = () => Promise<unknown>;

async function nanosOf(probe: Probe): Promise<bigint> {
  const from = process.hrtime.bigint();
  await probe();
  return process.hrtime.bigint() - from;
}

/** The share of pairs in which `one` took longer. */
async function shareLonger(one: Probe, other: Probe): Promise<number> {
  let wins = 0;
  for (let pair = -WARM_UP; pair < PAIRS; pair += 1) {
    const isFirst = Math.random() < 0.5;
    const early = await nanosOf(isFirst ? one : other);
    const late = await nanosOf(isFirst ? other : one);
    if (pair >= 0 && (isFirst ? early > late : late > early)) wins += 1;
  }
  return wins / PAIRS;
}

const UNKNOWN = { tailnet: 'acme-corp-productiom', sidecar: '00000000-0000-4000-8000-000000000000' };

describe('the time that a refusal takes', { timeout: 120_000 }, () => {
  let served: Served;
  const foreign = { tailnet: TAILNET, sidecar: '' };
  beforeAll(async () => {
    served = await Served.open();
    const { manager } = served.world;
    foreign.sidecar = (await manager.attachSidecar(BOOK)).sidecarId;
    for (let count = 0; count < 50; count += 1)
      await manager.createTailnet({ customerId: 'acme-corp', tailnetName: `tailnet-${count}`, config: { allowedNetworks: ['10.0.0.0/8'] } });
  });
  afterAll(() => served[Symbol.asyncDispose]());

  const probe = (method: string, path: string) => async (): Promise<void> => {
    const { status } = await served.rest('admin:other-corp', { method, path: `/api/v1/networks/${path}` });
    expect(status).toBe(404);
  };

  it.each<[string, string, (ids: typeof UNKNOWN) => string]>([
    ['GetTailnet', 'GET', ({ tailnet }) => `tailnets/${tailnet}`],
    ['GetNetworkStatus', 'GET', ({ tailnet }) => `tailnets/${tailnet}/status`],
    ['GetSidecar', 'GET', ({ sidecar }) => `sidecars/${sidecar}`],
    ['DetachSidecar', 'DELETE', ({ sidecar }) => `sidecars/${sidecar}`],
  ])('of %s does not tell a foreign id from an unknown one', async (_, method, path) => {
    const share = await shareLonger(probe(method, path(foreign)), probe(method, path(UNKNOWN)));
    expect(Math.abs(share - 0.5)).toBeLessThan(BOUND);
  });

  it('would tell it by one list that is read more', async () => {
    const { guard, store } = served.world;
    const path = `tailnets/${TAILNET}`;
    const leaking: Probe = async () => {
      guard.hook = async ({ name }) => {
        if (name === 'store.tailnets.get') await store.tailnets.list({ signal: AbortSignal.timeout(10_000) });
        return undefined;
      };
      await probe('GET', path)();
      guard.hook = () => undefined;
    };
    expect(await shareLonger(leaking, probe('GET', `tailnets/${UNKNOWN.tailnet}`))).toBeGreaterThan(0.5 + BOUND);
  });
});
