import { afterAll, beforeAll, expect, test } from 'vitest';
import { lab, runLab } from './support/command.ts';
import { exec } from './support/containers.ts';
import { type Customer, clientOfSecret, joinGateway } from './support/customer.ts';
import { eventually } from './support/eventually.ts';
import { Stage } from './support/stage.ts';

// A shell in a book's sidecar, by a real client and Tailscale's own server, under the policy that Bifrost keeps: the customer's routers get in, and only
// where the sidecar was to serve one.
const stage = new Stage();
const { platform } = stage;
const SPACE = 'shells';
const OPEN = 'open';
const SHUT = 'shut';

let customer: Customer;

/** From the customer's router. 255: nobody let it in. */
async function login(
  book: string,
  user: string,
  command: string,
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const device = (await customer.control.devices()).find(({ hostname }) => hostname === book);
  return runLab(['customer', SPACE, '--', 'ssh', user, device?.addresses[0] ?? '', command], { timeoutMs: 30_000 });
}

beforeAll(async () => {
  await stage.open();
  await stage.space(SPACE, SPACE);
  const { tailnet_id } = await stage.tailnet({ customer_id: SPACE, tailnet_name: SPACE, tenancy: 'organization' });
  const client = await clientOfSecret(stage.kubernetes, `bifrost-tailnet-${tailnet_id}`);
  customer = stage.use(await joinGateway(client, { name: SPACE, tags: ['tag:bifrost-router'] }));
  for (const [name, config] of [
    [OPEN, { enable_ssh: true }],
    [SHUT, {}],
  ] as const) {
    await stage.book({ name, namespace: SPACE });
    await stage.pod(SPACE, name);
    await platform.sidecarReaches(await stage.attach(`${SPACE}/${name}`, SPACE, config), 'connected');
  }
});
afterAll(() => stage[Symbol.asyncDispose]());

test('who is let in gets a shell of the sidecar, and the exit code of what ran', async () => {
  const shell = await eventually('the router gets a shell', async () => {
    const answer = await login(OPEN, 'root', 'id -u; hostname; exit 7');
    return answer.code === 7 ? answer : undefined;
  });
  expect(shell.stdout.split('\n')).toEqual(['0', (await stage.pod(SPACE, OPEN)).metadata.name, '']);
});

test('not as another user, and not where the sidecar was to serve none', async () => {
  expect(await login(OPEN, 'nobody', 'id')).toMatchObject({ code: 255, stdout: '' });
  expect(await login(SHUT, 'root', 'id')).toMatchObject({ code: 255, stdout: '' });
});

test('an attribute that the manager is told to give is one that a real client has got', async () => {
  const attributes = async (): Promise<object> => {
    const command = ['tailscale', '--socket=/var/run/tailscale/tailscaled.sock', 'status', '--json'];
    return JSON.parse((await exec(await stage.inBook(SPACE, OPEN, 'tailscale'), command)).stdout).Self.CapMap;
  };
  expect(await attributes()).not.toHaveProperty('randomize-client-port');
  await lab(['manager', 'HEARTBEAT_MS=1000', 'NODE_ATTRIBUTES=randomize-client-port'], { timeoutMs: 120_000 });
  await eventually('the client has it', async () => 'randomize-client-port' in (await attributes()));
});
