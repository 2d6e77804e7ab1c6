import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kill, narrow, requestFromBook } from './support/containers.ts';
import { type Customer, joinGateway } from './support/customer.ts';
import { eventually } from './support/eventually.ts';
import type { EventLog } from './support/platform.ts';
import { Stage } from './support/stage.ts';

// What the agent of a real sidecar tells about a real tailscaled, on its own port.
const stage = new Stage();
const [SPACE, BOOK, TAILNET] = ['facts', 'facts-book', 'facts-net'];
const SAMPLES = 20;
let customer: Customer;
let sidecarId = '';
let events: EventLog;

async function ask(path: string): Promise<string> {
  const { podIP } = (await stage.pod(SPACE, BOOK)).status;
  const answer = await request(`http://${podIP}:9003${path}`);
  expect(answer.statusCode).toBe(200);
  return answer.body.text();
}
/** The value of one sample; undefined while there is none. */
const sample = async (line: string): Promise<number | undefined> => {
  const found = (await ask('/metrics')).split('\n').find((each) => each.startsWith(`bifrost_agent_${line} `));
  return found === undefined ? undefined : Number(found.slice(found.lastIndexOf(' ') + 1));
};
const reads = (line: string, value: number) => eventually(`${line} is ${value}`, async () => (await sample(line)) === value);
/** Of 20 samples the 99th percentile is the greatest. */
function inShort(samples: readonly number[]): string {
  const [ordered, middle] = [samples.toSorted((a, b) => a - b), samples.length / 2];
  const median = ((ordered[Math.ceil(middle) - 1] ?? Number.NaN) + (ordered[Math.floor(middle)] ?? Number.NaN)) / 2;
  return `median ${median.toFixed(0)} ms, p99/max ${ordered.at(-1)?.toFixed(0)} ms (${samples.length} samples)`;
}

beforeAll(async () => {
  await stage.open();
  customer = await stage.customer({ name: 'facts', routes: ['10.0.0.0/8'] });
  await stage.space(SPACE, 'facts');
  await stage.book({ name: BOOK, namespace: SPACE });
  events = await stage.platform.follow();
  await stage.tailnet({ customer_id: 'facts', tailnet_name: TAILNET });
  await stage.pod(SPACE, BOOK);
  sidecarId = await stage.attach(`${SPACE}/${BOOK}`, TAILNET, { advertise_routes: ['192.168.77.0/24'] });
  await stage.platform.sidecarReaches(sidecarId, 'connected');
  await stage.reaches(await stage.inBook(SPACE, BOOK), customer);
});

afterAll(async () => {
  events?.[Symbol.dispose]();
  await stage[Symbol.asyncDispose]();
});

describe('the agent of a real sidecar', () => {
  test('knows the control link, the DERP home, and that its route is approved', async () => {
    await reads('control_linked', 1);
    await reads('home_derp{region="lab"}', 1);
    await reads('advertised_routes', 1);
    await reads('approved_routes', 1);
    const [device] = (await customer.control.devices()).filter(({ hostname }) => hostname === BOOK);
    expect(device?.enabledRoutes).toEqual(['192.168.77.0/24']);
  });

  test('knows who its router is, and how old the session with it is', async () => {
    const name = customer.gateway.name.replace(/\.$/, '');
    await eventually('the router’s tags are known', async () => (await sample(`peer_info{peer="${name}",user="",tags="tag:gateway"}`)) === 1);
    // Each is known by another question to the daemon, and some heartbeat later.
    const age = await eventually('the handshake is known', () => sample(`peer_handshake_age_seconds{peer="${name}"}`));
    expect(age).toBeGreaterThanOrEqual(0);
    expect(age).toBeLessThan(180);
    expect(await eventually('a ping was answered', () => sample(`peer_latency_seconds{peer="${name}"}`))).toBeGreaterThan(0);
  });

  test('finds nothing wrong: packets are forwarded, full-size ones arrive, the daemon is not wedged', async () => {
    for (const sign of ['ip-forwarding', 'mtu', 'udp-offload', 'daemon-wedged', 'wedge-limit'])
      expect([sign, await sample(`sign{sign="${sign}"}`)]).toEqual([sign, 0]);
    expect(await ask('/daemon')).toBe('ok');
    expect(await sample('bus_mask')).toBeGreaterThan(262_144);
    const drops = await eventually('drops are known', () => sample('daemon_error_drops_total{direction="outbound"}'));
    expect(drops).toBeGreaterThanOrEqual(0);
  });

  // Nothing in the sidecar can do this often: containerboot ends when tailscaled leaves `Running`, and the kubelet waits longer from time to time.
  test('tells of a router that comes and goes at once, every time', async () => {
    // The router stays a peer without its routes, whose pings go on.
    await customer.control.setPolicy({
      tagOwners: { 'tag:gateway': [], 'tag:bifrost-book': [] },
      grants: [{ src: ['tag:bifrost-book'], dst: ['10.1.0.0/24', 'tag:gateway'], ip: ['tcp:8000'] }],
    });
    const spare = await joinGateway(customer.control.client, { name: 'spare', routes: ['10.1.0.128/25'], address: '10.1.0.200' });
    await spare[Symbol.asyncDispose](); // now a router that never answers: without the other one there is no way
    const took = { disconnected: [] as number[], connected: [] as number[] };
    for (let round = 0; round <= SAMPLES; round += 1) {
      for (const [told, routes] of [['disconnected', []] as const, ['connected', ['10.0.0.0/8']] as const]) {
        const from = events.events.length;
        const fromMs = performance.now();
        await customer.control.approveRoutes(customer.gateway.nodeId, routes);
        const event = await events.next(told, ({ details, event_type }) => event_type === told && details['sidecar_id'] === sidecarId, { from });
        // The first round is also the one that finds out that the spare router is silent.
        if (round === 0) continue;
        took[told].push(events.seenAtMs(event) - fromMs);
        expect([told, event.details['cause']]).toEqual([told, told === 'disconnected' ? 'route' : undefined]);
      }
    }
    const figures = Object.entries(took).map(([told, each]) => `${told} ${inShort(each)}`);
    process.stderr.write(`event-latency in the lab: ${figures.join('; ')}, from before the call that approves or withdraws routes to the event\n`);
    expect([took.disconnected, took.connected].map(({ length }) => length)).toEqual([SAMPLES, SAMPLES]);
    await customer.control.deleteDevice(spare.gateway.nodeId);
  }, 180_000);

  test('tells of a killed tailscaled in no time', async () => {
    const address = await stage.inBook(SPACE, BOOK, 'tailscale');
    const from = events.events.length;
    const fromMs = Date.now();
    await kill(address, 'tailscaled');
    const killedMs = Date.now();
    const lost = await events.next(
      'disconnected',
      ({ details, event_type }) => event_type === 'disconnected' && details['sidecar_id'] === sidecarId,
      { from },
    );
    const atMs = Date.parse(lost.timestamp);
    process.stderr.write(`lab: tailscaled killed to event: ${atMs - killedMs} to ${atMs - fromMs} ms (the command took ${killedMs - fromMs})\n`);
    expect(lost.details).toMatchObject({ cause: 'pod' });
    await events.next('connected again', ({ details, event_type }) => event_type === 'connected' && details['sidecar_id'] === sidecarId, { from });
    const inBook = await stage.inBook(SPACE, BOOK);
    await eventually('the page is back', async () => (await requestFromBook(inBook, { url: customer.pageUrl })).body === customer.page);
  });

  test('tells of a way on which full-size packets get lost, while small ones are answered', async () => {
    const agent = await stage.inBook(SPACE, BOOK, 'bifrost-agent');
    await reads('sign{sign="mtu"}', 0);
    await using _narrow = await narrow(SPACE, agent.pod);
    await kill(agent); // the next one asks anew, not in five minutes
    // Three in a row, one for each survey: that takes it eighteen seconds and more.
    const isTold = async () => (await stage.platform.sidecar(sidecarId)).instances[0]?.signs?.includes('mtu') === true;
    await eventually('the sign is there', isTold, { timeoutMs: 60_000 });
    await reads('sign{sign="mtu"}', 1);
    const name = customer.gateway.name.replace(/\.$/, '');
    expect(await sample(`peer_latency_seconds{peer="${name}"}`)).toBeGreaterThan(0);
  }, 120_000);
});
