import { BifrostError } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { openShared } from './support/shared-world.ts';

describe('a policy of several customers that is not taken', () => {
  it.each(['POLICY_REFUSED', 'POLICY_UNREADABLE'] as const)('bug: of %s a customer is not told what is in it: the log is', async (code) => {
    await using world = await openShared();
    const told = 'grants of globex, at character 7';
    world.guard.hook = async ({ name }) => {
      if (name !== 'controlPlane.tailnet.writePolicy') return undefined;
      throw new BifrostError({ code, message: told, issues: [{ path: 'policy', message: told }], details: { offset: '7' } });
    };
    await world.manager.updateTailnet({ tailnetName: 'acme', config: { allowedNetworks: ['10.20.0.0/16'] }, allowRollout: true });
    await world.until(async () => (await world.tailnet('acme'))?.state.phase === 'degraded');
    const { reason } = await world.manager.getTailnet('acme');
    expect(reason).toMatchObject({ code, message: expect.stringContaining('shared tailnet') });
    expect(JSON.stringify(await world.manager.getTailnet('acme'))).not.toMatch(/globex|character/);
    expect(world.logger.lines.map(({ fields }) => fields)).toContainEqual(expect.objectContaining({ code, faults: told }));
    world.guard.hook = () => undefined;
    await world.until(async () => (await world.tailnet('acme'))?.state.phase === 'active');
  });
});
