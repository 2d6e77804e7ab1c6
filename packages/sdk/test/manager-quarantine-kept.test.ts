import { describe, expect, it } from 'vitest';
import { condition, connected, secretOf } from './support/quarantined.ts';
import { ACME, openWorld } from './support/world.ts';

describe('quarantine of what was injected', () => {
  const manifest = {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { namespace: 'acme-corp', name: 'nightly' },
    spec: { template: { metadata: {}, spec: { restartPolicy: 'Never', containers: [{ name: 'book', image: 'book' }] } } },
  } as const;

  it('holds before its workload comes: it gets no key', async () => {
    await using world = await openWorld();
    const config = { hostname: 'nightly', acceptRoutes: true };
    const { sidecarId } = await world.manager.injectSidecar({ manifest, tailnetName: ACME.tailnetName, config });
    await world.until(() => world.control.keys().length === 1);
    await world.manager.quarantineSidecar({ sidecarId });
    await world.run(30_000);
    expect(await world.outside()).toMatchObject({ devices: 0, keys: 0 });
    expect(await secretOf(world)).toEqual([]);
    expect(await condition(world, sidecarId)).toMatchObject({ status: 'True' });
    await world.manager.readmitSidecar(sidecarId);
    await world.until(() => world.control.keys().length === 1);
  });
});

describe('quarantine and a manager that dies', () => {
  /** From the call to the end: each call outside is once the last that a manager makes. */
  it('loses nothing, whichever call is its last', async () => {
    let reached = 0;
    for (let at = 1; at <= 40; at += 1) {
      await using world = await connected(1, { resyncMs: 60_000 });
      const from = world.guard.calls;
      let died = false;
      world.guard.hook = ({ number }) => {
        if (died || number !== from + at) return undefined;
        died = true;
        return () => void world.restart();
      };
      const quarantine = () => world.manager.quarantineSidecar({ sidecarId: world.sidecarId });
      await quarantine().catch(async () => {
        await world.run(2_000);
        await quarantine();
      });
      await world.run(20_000);
      world.guard.hook = () => undefined;
      expect([at, await world.outside()]).toEqual([at, { devices: 0, keys: 0, secrets: 1, tailnets: 0 }]);
      expect(await condition(world, world.sidecarId)).toMatchObject({ status: 'True' });
      if (!died) break;
      reached = at;
    }
    expect(reached).toBeGreaterThan(8);
  });
});
