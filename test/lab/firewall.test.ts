import { afterAll, beforeAll, expect, test } from 'vitest';
import { lab } from './support/command.ts';
import type { Customer } from './support/customer.ts';
import { eventually } from './support/eventually.ts';
import { Stage } from './support/stage.ts';

// A customer's router behind a firewall of its own, in nftables of its network namespace: what it finds there itself is what the manager tells.
const stage = new Stage();
const { platform } = stage;
const SPACE = 'walled';
const TABLE = 'inet customers_firewall';

interface Row {
  readonly purpose: string;
  readonly direction: string;
  readonly protocol: string;
  readonly destination: string;
  readonly destination_port: string;
  readonly status: string;
  readonly evidence: readonly { readonly router: string; readonly status: string; readonly message: string; readonly at: string }[];
}
let customer: Customer;
let sidecarId = '';

const inRouter = (...command: readonly string[]) => lab(['customer', SPACE, '--', ...command]);
const rows = async (): Promise<readonly Row[]> => (await platform.must('GET', `/tailnets/${SPACE}/firewall-requirements`)).rows;
const statuses = async () => {
  const all = await rows();
  const of = (purpose: string, direction = 'outbound') => all.find((row) => row.purpose === purpose && row.direction === direction)?.status;
  return { control: of('control'), relay: of('relay'), stun: of('stun'), out: of('direct'), in: of('direct', 'inbound') };
};
/** The router looks anew by itself every half minute or so; a packet of its own asks it to look now. */
const becomes = (wanted: Partial<Awaited<ReturnType<typeof statuses>>>, timeoutMs = 60_000) =>
  eventually(
    `the rows say ${JSON.stringify(wanted)}`,
    async () => {
      await inRouter('tailscale', 'debug', 'restun');
      const now = await statuses();
      return Object.entries(wanted).every(([name, status]) => now[name as keyof typeof now] === status) ? now : undefined;
    },
    { timeoutMs, intervalMs: 1_000 },
  );
/** Packets of the router that the rule names do not leave it, until disposed. */
async function firewall(...rules: readonly string[]): Promise<AsyncDisposable> {
  await inRouter(
    'nft',
    `table ${TABLE} { chain out { type filter hook output priority 0; ${rules.map((rule) => `${rule} counter drop;`).join(' ')} }; }`,
  );
  return { [Symbol.asyncDispose]: async () => void (await inRouter('nft', 'delete', 'table', ...TABLE.split(' '))) };
}
const rowOf = async (purpose: string): Promise<Row> => {
  const row = (await rows()).find((each) => each.purpose === purpose);
  if (row === undefined) throw new Error(`there is no row for ${purpose}`);
  return row;
};

beforeAll(async () => {
  await stage.open();
  customer = await stage.customer({ name: SPACE });
  await stage.space(SPACE, SPACE);
  await stage.tailnet({ customer_id: SPACE, tailnet_name: SPACE });
  await stage.book({ name: 'book', namespace: SPACE });
  await stage.pod(SPACE, 'book');
  sidecarId = await stage.attach(`${SPACE}/book`, SPACE);
  await platform.sidecarReaches(sidecarId, 'connected');
});
afterAll(() => stage[Symbol.asyncDispose]());

test('without a firewall every line is open, by the router’s own word', async () => {
  await becomes({ control: 'open', stun: 'open', relay: 'unknown', out: 'open', in: 'open' });
  const { evidence } = await rowOf('stun');
  expect(evidence).toMatchObject([{ router: customer.gateway.name, status: 'open' }]);
  expect(Math.abs(Date.parse(evidence[0]?.at ?? '') - Date.now())).toBeLessThan(10_000);
});

test('UDP to STUN that is dropped is a row that says blocked, and nothing else is; without the rule it is open again', async () => {
  const { destination_port, protocol } = await rowOf('stun');
  {
    await using _rule = await firewall(`${protocol} dport ${destination_port}`);
    await becomes({ stun: 'blocked', control: 'open', out: 'open' });
    expect((await rowOf('stun')).evidence).toMatchObject([{ router: customer.gateway.name, status: 'blocked' }]);
  }
  await becomes({ stun: 'open', control: 'open', out: 'open' });
});

test('no UDP at all: direct links are blocked as well, and the relay still carries; without it too, no book finds the router', async () => {
  const relay = await rowOf('relay');
  {
    await using _udp = await firewall('meta l4proto udp');
    await becomes({ stun: 'blocked', out: 'blocked', control: 'open' });
    expect((await rowOf('relay')).status).toBe('unknown');
    await platform.sidecarReaches(sidecarId, 'degraded'); // by the relay
    expect(await statuses()).toMatchObject({ relay: 'unknown', out: 'blocked' });
  }
  {
    await using _all = await firewall('meta l4proto udp', `${relay.protocol} dport ${relay.destination_port}`);
    await becomes({ relay: 'blocked', stun: 'blocked', control: 'open' }, 90_000); // told after half a minute in which no book has reached it
  }
  await becomes({ stun: 'open', out: 'open', control: 'open' });
}, 180_000);
