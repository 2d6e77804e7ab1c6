import { NetworkManager } from '@bifrost/types/proto';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { expect, it } from 'vitest';
import { ApiServer } from '../../src/server/index.ts';
import { World } from '../support/world.ts';

it('thin', async () => {
  await using world = new World();
  await world.addCustomer('customer-123');
  await world.manager.start();
  await using server = new ApiServer({ manager: world.manager, authenticate: async () => 'me' });
  const { port } = await server.listen(0);
  const body = {
    customer_id: 'customer-123',
    tailnet_name: 'acme-corp-production',
    config: { allowed_networks: ['10.0.0.0/8'], access_policy: 'restrictive', enable_logging: true },
    tags: ['production'],
  };
  const base = `http://127.0.0.1:${port}/api/v1/networks`;
  const res = await fetch(`${base}/tailnets`, { method: 'POST', body: JSON.stringify(body) });
  console.log(res.status, await res.text());
  for (const path of [
    '/tailnets',
    '/tailnets/acme-corp-production',
    '/tailnets/acme-corp-production/status',
    '/info',
    '/metrics',
    '/nothing',
    '/tailnets/none',
    '/tailnets?page_size=x',
  ]) {
    const got = await fetch(base + path);
    console.log(path, got.status, await got.text());
  }
  const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` });
  const client = createClient(NetworkManager, transport);
  console.log(await client.getTailnet({ tailnetName: 'acme-corp-production' }));
  await client
    .getTailnet({ tailnetName: 'none' }, { onHeader: (h) => console.log([...h]), onTrailer: (h) => console.log([...h]) })
    .catch((e) => console.log(e.code, e.details, [...e.metadata]));
});
