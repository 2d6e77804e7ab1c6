import { BifrostError } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { ACME, openWorld, refusal } from '../support/world.ts';

const paths = (error: unknown): readonly string[] => (BifrostError.is(error) ? error.issues.map(({ path }) => path) : []);

describe('an intent that cannot be meant', () => {
  const cases: readonly [string, readonly string[]][] = [
    ['host bits', ['10.0.0.1/8']],
    ['host bits in IPv6', ['fd00::1/64']],
    ['IPv4 written as IPv6', ['::ffff:10.0.0.0/104']],
    ['everything', ['0.0.0.0/0']],
    ['everything in IPv6', ['::/0']],
    ['no range', ['acme']],
    ['digits of another alphabet', ['1０.0.0.0/8']],
    ['a letter that looks like a digit', ['10.0.O.0/24']],
  ];
  it.each(cases)('%s: refused where it is created, changed and planned, with its place, and nothing is written', async (_, networks) => {
    await using world = await openWorld();
    const before = await world.snapshot([world.book]);
    for (const member of ['allowedNetworks', 'blockedNetworks'] as const) {
      const config = { ...ACME.config, [member]: ['10.20.0.0/16', ...networks] };
      const calls = [
        world.manager.createTailnet({ ...ACME, tailnetName: 'other', config }),
        world.manager.updateTailnet({ tailnetName: ACME.tailnetName, config: { [member]: config[member] } }),
        world.manager.planUpdateTailnet({ tailnetName: ACME.tailnetName, config: { [member]: config[member] } }),
      ];
      for (const call of calls) {
        const error = await refusal(call);
        expect([error.code, paths(error)]).toEqual(['INVALID_ARGUMENT', [`config.${member}.1`]]);
      }
    }
    expect(await world.snapshot([world.book])).toEqual(before);
  });

  it('10,000 ranges: refused at once, at the list', async () => {
    await using world = await openWorld();
    const allowedNetworks = Array.from({ length: 10_000 }, (_, at) => `10.${at >> 8}.${at & 255}.0/24`);
    const fromMs = performance.now();
    const error = await refusal(world.manager.updateTailnet({ tailnetName: ACME.tailnetName, config: { allowedNetworks } }));
    expect([error.code, paths(error)]).toEqual(['INVALID_ARGUMENT', ['config.allowedNetworks']]);
    expect(performance.now() - fromMs).toBeLessThan(2_000);
  });

  it('a customer whose id only looks like another’s: refused, since a label could not carry it', async () => {
    await using world = await openWorld();
    const error = await refusal(world.manager.createTailnet({ ...ACME, tailnetName: 'other', customerId: 'аcme-corp' }));
    expect([error.code, paths(error)]).toEqual(['INVALID_ARGUMENT', ['customerId']]);
  });
});

describe('an intent that says a thing twice', () => {
  it('changes nothing by it', async () => {
    await using world = await openWorld();
    const { allowedNetworks } = ACME.config;
    const plan = await world.manager.planUpdateTailnet({
      tailnetName: ACME.tailnetName,
      config: { allowedNetworks: [...allowedNetworks, ...allowedNetworks] },
    });
    expect(plan).not.toHaveProperty('access');
    expect(plan).not.toHaveProperty('outputs');
  });
});
