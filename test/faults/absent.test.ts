import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { liveMissed, missKinds } from './support/absence.ts';
import type { Tenancy } from './support/books.ts';
import { SHORT_LIMITS } from './support/limits.ts';
import { World } from './support/world.ts';

const TENANCIES: readonly Tenancy[] = ['customer-owned', 'organization'];
const KINDS = {
  tailnets: ['tailnets.get'],
  attachments: ['sidecarattachments.get'],
  workloads: ['workloads.get'],
  Secrets: ['secrets.get', 'secrets.metadata'],
  namespaces: ['namespaces.get'],
} as const;
const LIVES = [
  ['customer-owned', ['create', 'attach', 'update the sidecar', 'detach', 'delete']],
  ['organization', ['create', 'attach', 'update the tailnet', 'detach', 'delete']],
] as const;
const say = (text: string): void => void process.stderr.write(`faults: not there yet: ${text}\n`);
const sum = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((total, count) => total + count, 0);

let world: World;
beforeAll(async () => {
  world = await World.open({ name: 'n', ...SHORT_LIMITS });
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

describe.each(TENANCIES)('what is there is answered as if it was not made yet: %s', (tenancy) => {
  it.concurrent.each(Object.entries(KINDS))('%s: nothing is released, replaced or revoked', async (kind, operations) => {
    const { faulted, before, after } = await missKinds(world, tenancy, operations);
    say(`${tenancy}: ${kind}: ${JSON.stringify(faulted)}`);
    expect(sum(faulted), 'it met it').toBeGreaterThan(0);
    // A Secret that is not found gets another key, beside the one that it had.
    expect(after).toEqual(kind === 'Secrets' ? { ...before, keys: expect.arrayContaining([...before.keys]) } : before);
  });
});

describe('a life in which everything is answered so when it has just been made', () => {
  it.concurrent.each(LIVES)('%s: it comes to the same ends', async (tenancy, names) => {
    const faulted = await liveMissed(world, tenancy, names);
    say(`${tenancy}: a life: ${JSON.stringify(faulted)}`);
    for (const operations of Object.values(KINDS)) expect(faulted[operations[0]], operations[0]).toBeGreaterThan(0);
  });
});
