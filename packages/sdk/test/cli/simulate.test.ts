import { expect, it } from 'vitest';
import { systemClock } from '../../src/adapters/system/clock.ts';
import { openSimulatedWorld } from '../../src/cli/simulate/world.ts';
import { bifrost } from './support.ts';

const BOOK = 'acme/billing-book';

it('a sidecar in quarantine is not connected in the simulated world, and comes back as another device; what it reaches is explained', async () => {
  const signal = AbortSignal.timeout(14_000);
  const clock = systemClock();
  await using world = await openSimulatedWorld({ port: 0, disturbMs: 0, clock, signal });
  const { manager } = world;
  const run = (line: string) => bifrost(line.split(' '), { env: { BIFROST_SERVER: world.address }, clock, signal });
  expect(await run('tailnet create acme-production --customer acme --allow 10.0.0.0/8 --wait')).toMatchObject({ code: 0 });
  expect(await run(`sidecar attach ${BOOK} --tailnet acme-production --hostname billing --accept-routes --wait`)).toMatchObject({ code: 0 });
  expect((await run(`explain ${BOOK} 10.1.0.10`)).out).toMatch(/^10\.1\.0\.10: allowed$/m);
  const [sidecar] = await manager.listSidecars();
  const sidecarId = sidecar?.sidecarId ?? '';
  const devices = async () => (await manager.getSidecar(sidecarId)).instances.map(({ deviceId }) => deviceId);
  const before = await devices();
  expect(before).toHaveLength(2);
  await run(`quarantine ${BOOK}`);
  await manager.waitFor({ sidecarId, status: 'disconnected' }, { signal });
  await run(`readmit ${BOOK}`);
  await manager.waitFor({ sidecarId, status: 'connected' }, { signal });
  await expect.poll(async () => (await devices()).filter((id) => before.includes(id)), { timeout: 5_000 }).toEqual([]);
});
