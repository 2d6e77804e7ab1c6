import type { GuardOrder, NetworkConfiguration } from '@bifrost/types/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryLogger } from '../src/adapters/memory/logger.ts';
import type { StoredSidecar, StoredTailnet } from '../src/domain/model.ts';
import { renderSidecar } from '../src/domain/render-sidecar.ts';
import { orderFaults } from '../src/manager/before-writing.ts';
import type { Context } from '../src/manager/context.ts';
import { GuardOrders, guardOrderOf, guardStateOf } from '../src/manager/guard-orders.ts';
import { networkHash } from '../src/manager/hashes.ts';
import type { Instance } from '../src/manager/instances.ts';
import { configuration } from './policy/worlds.ts';
import { renderInput } from './support/render-input.ts';

type Networks = Omit<GuardOrder, 'hash'>;
type Make = (config: NetworkConfiguration) => Networks;

const CONFIG: NetworkConfiguration = {
  allowedNetworks: ['10.0.0.0/8'],
  blockedNetworks: ['10.99.0.0/16'],
  accessPolicy: 'restrictive',
  enableLogging: false,
};
const MORE = { ...CONFIG, allowedNetworks: ['10.0.0.0/8', '192.168.0.0/16'] };
const LESS = { ...CONFIG, blockedNetworks: ['10.99.0.0/16', '10.1.0.0/16'] };
const WITHOUT_BLOCKED: Make = ({ allowedNetworks, accessPolicy }) => ({ allowedNetworks, blockedNetworks: [], accessPolicy });

const asSaid: Make = ({ allowedNetworks, blockedNetworks, accessPolicy }) => ({ allowedNetworks, blockedNetworks, accessPolicy });
const orderOf = (config: NetworkConfiguration, make: Make = asSaid): GuardOrder => ({ hash: networkHash(config), ...make(config) });

const sidecar = {
  key: 'book',
  spec: { tailnetName: 'acme', customerId: 'acme', fragment: renderSidecar(renderInput) },
} as unknown as StoredSidecar;

/** Orders of one tailnet, made as `make` says, and what a guard that holds something else gets of them. */
function bench(make: Make = asSaid) {
  const logger = new MemoryLogger();
  let [version, proofs, made] = [0, 0, 0];
  const state = { make };
  const orders = new GuardOrders({
    logger,
    proofDue: {
      soon: () => {
        proofs += 1;
      },
    },
    makeOrder: (config) => {
      made += 1;
      return orderOf(config, state.make);
    },
  });
  const context = { readOnly: () => false, guardOrders: orders } as unknown as Context;
  const spec = { tailnetId: 't', customerId: 'acme', tags: [], tenancy: 'shared', credentialSecretName: 'bifrost-tailnet-t' } as const;
  return {
    state,
    saw: (config: NetworkConfiguration) => {
      version += 1;
      orders.saw('acme', {
        key: 'acme',
        version: String(version),
        spec: { ...spec, config },
        state: { phase: 'active' },
      } as unknown as StoredTailnet);
    },
    handedOut: (holds = 'something else') => guardOrderOf(context, sidecar, { holds }),
    stateOf: (guardHolds: string) => guardStateOf(context, sidecar, { guardHolds } as Instance),
    proofs: () => proofs,
    made: () => made,
    told: () => logger.lines.map(({ level, fields }) => [level, fields?.['code'], fields?.['kind']]),
  };
}

describe('an order before it is handed out', () => {
  it('of any configuration that a call accepts has no fault, by either table', () => {
    fc.assert(fc.property(configuration, (config) => void expect(orderFaults(orderOf(config), config)).toEqual([])));
  });

  it.each([
    ['blocked-open', WITHOUT_BLOCKED],
    ['beyond-allowed', (config: NetworkConfiguration): Networks => ({ ...asSaid(config), allowedNetworks: ['10.0.0.0/7'] })],
    ['beyond-allowed', (config: NetworkConfiguration): Networks => ({ ...asSaid(config), accessPolicy: 'permissive' })],
    ['fails-open', (config: NetworkConfiguration): Networks => ({ ...asSaid(config), allowedNetworks: [] })],
  ] as const)('%s: is not handed out, and told once with the proof that is due', (kind, make) => {
    const { saw, handedOut, stateOf, told, proofs } = bench(make);
    saw(CONFIG);
    saw(CONFIG);
    expect([handedOut(), handedOut(), stateOf('something else')]).toEqual([undefined, undefined, 'outdated']);
    expect([told(), proofs()]).toEqual([[['error', 'ISOLATION_VIOLATED', kind]], 1]);
  });

  it('the good one before it stays for as long as what is meant is only more, and is told as outdated; a right one follows', () => {
    const { saw, handedOut, stateOf, state, told, proofs } = bench();
    saw(CONFIG);
    state.make = WITHOUT_BLOCKED;
    saw(MORE);
    expect(handedOut()).toEqual(orderOf(CONFIG));
    expect(stateOf(networkHash(CONFIG))).toBe('outdated');
    expect([told(), proofs()]).toEqual([[['error', 'ISOLATION_VIOLATED', 'blocked-open']], 1]);
    state.make = asSaid;
    const most = { ...MORE, allowedNetworks: [...MORE.allowedNetworks, '172.16.0.0/16'] };
    saw(most);
    expect([handedOut(), stateOf(networkHash(most))]).toEqual([orderOf(most), 'current']);
    expect(told()).toHaveLength(1);
  });

  it('one that takes away is never held up by its fault: the one before it lets through what is lost', () => {
    const { saw, handedOut, state, told, proofs } = bench();
    saw(CONFIG);
    state.make = ({ allowedNetworks, accessPolicy }) => ({ allowedNetworks, blockedNetworks: ['10.1.0.0/16'], accessPolicy });
    saw(LESS);
    expect(handedOut()).toEqual(orderOf(LESS, state.make));
    expect([told(), proofs()]).toEqual([[['error', 'ISOLATION_VIOLATED', 'blocked-open']], 1]);
  });

  it('after one that nobody has got, a faulty one is no better', () => {
    const { saw, handedOut, stateOf } = bench(WITHOUT_BLOCKED);
    saw(CONFIG);
    saw(LESS);
    expect([handedOut(), stateOf(networkHash(LESS)), stateOf(networkHash(CONFIG))]).toEqual([undefined, 'current', 'outdated']);
  });

  it('with no fault goes out as it is, whether the tailnet was known before or not', () => {
    const { saw, handedOut, told } = bench();
    for (const config of [CONFIG, MORE, LESS]) {
      saw(config);
      expect(handedOut()).toEqual(orderOf(config));
    }
    expect(told()).toEqual([]);
  });

  it('is judged once for each configuration, not for each version', () => {
    const { saw, made } = bench();
    for (let version = 0; version < 10; version += 1) saw(CONFIG);
    saw(MORE);
    expect(made()).toBe(2);
  });

  it('of a tailnet that was not known is not judged while its guards hold what is meant', () => {
    const { saw, handedOut, told } = bench(WITHOUT_BLOCKED);
    saw(CONFIG);
    expect(handedOut(networkHash(CONFIG))).toBeUndefined();
    expect(told()).toEqual([]);
  });
});
