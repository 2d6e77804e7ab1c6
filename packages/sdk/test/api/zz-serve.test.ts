import { it } from 'vitest';
import { ApiServer } from '../../src/server/index.ts';
import { World } from '../support/world.ts';
import { existsSync } from 'node:fs';
it('serve', async () => {
  await using world = new World();
  await world.addCustomer('customer-123');
  await world.manager.start();
  await using server = new ApiServer({ manager: world.manager, authenticate: async ({ header }) => { console.log('AUTH', header('authorization')?.slice(0, 20), header('x-forwarded-client-cert'), header('x-envoy-original-path'), header('x-request-id'), header('x-forwarded-for'), header('x-bifrost-subject')); return 'me'; } });
  await server.listen(18445);
  while (!existsSync('/tmp/ev/stop')) await new Promise((r) => setTimeout(r, 200));
}, 3_000_000);
