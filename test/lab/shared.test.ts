import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lab, runLab } from './support/command.ts';
import { type ContainerAddress, exec, requestFromBook, requestFromCustomer } from './support/containers.ts';
import type { ControlClient, OAuthClient } from './support/control.ts';
import { type Customer, joinGateway } from './support/customer.ts';
import { eventually } from './support/eventually.ts';
import { Stage } from './support/stage.ts';

// Two customers in one tailnet, with the same addresses behind a router each, and with books of the same hostname. Tests build on each other.
const stage = new Stage();
const { platform } = stage;
const NAMES = ['sh-a', 'sh-b'] as const;
type Name = (typeof NAMES)[number];
const other = (name: Name): Name => (name === 'sh-a' ? 'sh-b' : 'sh-a');

let client: OAuthClient;
let control: ControlClient;
const routers = new Map<Name, Customer>();
const routerTags = new Map<Name, string>();
const books = new Map<Name, ContainerAddress>();

const of = <Value>(values: ReadonlyMap<Name, Value>, name: Name): Value => {
  const value = values.get(name);
  if (value === undefined) throw new Error(`${name} has none yet`);
  return value;
};
const get = (name: Name) => requestFromBook(of(books, name), { url: of(routers, name).pageUrl, timeoutMs: 5_000 });
const tailscaleOf = async (name: Name, ...args: readonly string[]) =>
  exec(await stage.inBook(name, 'book', 'tailscale'), ['tailscale', '--socket=/var/run/tailscale/tailscaled.sock', ...args]);
const v4 = (addresses: readonly string[]): string => addresses.find((address) => !address.includes(':')) ?? '';

/** Of a machine itself, by its address in the tailnet: each serves a page on that port of whatever address it has. */
async function urlOf(name: Name, hostname: string): Promise<string> {
  const device = (await control.devices()).find((each) => each.hostname === hostname && each.tags?.join().includes(`-${name}-`));
  return `http://${v4(device?.addresses ?? [])}:8080/`;
}
const fromRouter = async (url: string): Promise<string> => (await requestFromCustomer('sh-a', { url, timeoutMs: 2_000 })).body;

interface Whois {
  readonly Node: { readonly Tags?: readonly string[] };
}

/** The routers' tag, as the tailnet itself tells it. */
async function routerTagOf(name: Name): Promise<string> {
  const { conditions } = await platform.must('GET', `/tailnets/${name}`);
  const told = (conditions as { type: string; message: string }[]).find(({ type }) => type === 'PolicyManaged')?.message ?? '';
  return /tag:bifrost-router-[a-z0-9-]+/.exec(told)?.[0] ?? `none is told: ${told}`;
}

beforeAll(async () => {
  await stage.open();
  ({ client, control } = await stage.shared());
  await Promise.all(NAMES.map((name) => stage.space(name, name)));
  await Promise.all(NAMES.map((name) => stage.book({ name: 'book', namespace: name })));
  await stage.book({ name: 'second', namespace: 'sh-a' });
  await Promise.all(NAMES.map((name) => stage.tailnet({ customer_id: name, tailnet_name: name, tenancy: 'shared' })));
  for (const name of NAMES) routerTags.set(name, await routerTagOf(name));
  const join = async (name: Name): Promise<void> => {
    const tags = [of(routerTags, name)];
    routers.set(name, stage.use(await joinGateway(client, { name, routes: ['10.0.0.0/8'], tags })));
  };
  const attach = async (name: Name, book = 'book'): Promise<void> => {
    await stage.pods(name, book);
    await platform.sidecarReaches(await stage.attach(`${name}/${book}`, name), 'connected', 120_000);
  };
  await Promise.all([...NAMES.flatMap((name) => [join(name), attach(name)]), attach('sh-a', 'second')]);
  for (const name of NAMES) books.set(name, await stage.inBook(name, 'book'));
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('two customers in one tailnet, with the same addresses', () => {
  test('each book gets its own customer’s page, never the other’s, however many ask at once', async () => {
    const [a, b] = NAMES.map((name) => of(routers, name));
    expect(a?.pageUrl).toBe(b?.pageUrl); // the same packet, from another customer's book, gets the other page
    for (const name of NAMES) expect(of(routers, name).gateway.enabledRoutes).toEqual(['10.0.0.0/8']); // by the policy, before anybody approved it
    await Promise.all(NAMES.map((name) => stage.reaches(of(books, name), of(routers, name))));
    const pagesOf = async (name: Name): Promise<readonly string[]> => {
      const answers = await Promise.all(Array.from({ length: 8 }, () => get(name)));
      return [...new Set(answers.map(({ body, kind }) => body || `no answer: ${kind}`))];
    };
    expect(await Promise.all(NAMES.map(pagesOf))).toEqual(NAMES.map((name) => [`private network of ${name}`]));
  });

  test('each sidecar sees its own customer’s router and nobody else', async () => {
    for (const name of NAMES) {
      const { stdout } = await tailscaleOf(name, 'status', '--json');
      const { Peer } = JSON.parse(stdout) as { Peer?: Readonly<Record<string, { readonly HostName: string }>> };
      expect(Object.values(Peer ?? {}).map(({ HostName }) => HostName)).toEqual([`gateway-${name}`]);
    }
  });

  test('whois says on both ends who the other is: customer and book there, the router here; of another customer’s it knows nothing', async () => {
    const devices = await control.devices();
    for (const name of NAMES) {
      const { tags: own = [], addresses = [] } =
        devices.find(({ hostname, tags }) => hostname === 'book' && tags?.join().includes(`customer-${name}-`)) ?? {};
      expect(own?.toSorted()).toEqual([
        expect.stringMatching(new RegExp(`^tag:bifrost-book-${name}-book-[0-9a-f]{16}$`)),
        expect.stringMatching(new RegExp(`^tag:bifrost-customer-${name}-[0-9a-f]{16}$`)),
      ]);
      const seen = JSON.parse(await lab(['customer', name, '--', 'tailscale', 'whois', '--json', v4(addresses)])) as Whois;
      expect(seen.Node.Tags?.toSorted()).toEqual(own?.toSorted());
      const back = await tailscaleOf(name, 'whois', '--json', v4(of(routers, name).gateway.addresses));
      expect((JSON.parse(back.stdout) as Whois).Node.Tags).toEqual([of(routerTags, name)]);
      expect((await runLab(['customer', other(name), '--', 'tailscale', 'whois', '--json', v4(addresses)])).code).not.toBe(0);
    }
  });

  test('another machine in that tailnet, with another tag, reaches neither; the twin: with a rule of the platform’s it does', async () => {
    const machine = stage.use(await joinGateway(client, { name: 'sh-ops', routes: [], address: '10.2.0.10', tags: ['tag:ops'] }));
    await lab(['customer', machine.name, '--', 'tailscale', 'set', '--accept-routes']);
    const ask = () => requestFromCustomer(machine.name, { url: of(routers, 'sh-a').pageUrl, timeoutMs: 1_000 });
    for (let turn = 0; turn < 3; turn += 1) expect((await ask()).body).toBe('');
    const grant = (dst: string, rest: string): string => `{ "src": ["tag:ops"], "dst": ["${dst}"], ${rest} },`;
    const tag = of(routerTags, 'sh-a');
    const theirs = `${grant('10.0.0.0/8', `"ip": ["*"], "via": ["${tag}"]`)} ${grant(tag, '"ip": ["icmp:*"]')}`;
    await edit((text) => text.replace(/"grants": ?\[/, `"grants": [ ${theirs}`));
    await eventually('the page is got', async () => (await ask()).body === 'private network of sh-a', { timeoutMs: 20_000 });
    expect((await get('sh-b')).body).toBe('private network of sh-b');
  });
});

/** As the platform's administrator. */
async function edit(change: (text: string) => string): Promise<void> {
  const { text } = await control.policy();
  expect(change(text)).not.toBe(text);
  await control.must('POST', '/tailnet/-/acl', change(text), { 'content-type': 'application/hujson' });
}

describe('the policy that they share', () => {
  test('comes back when somebody takes our entries out and lets one customer’s router reach the other’s; what else they write stays', async () => {
    const [a = '', b = ''] = NAMES.map((name) => of(routerTags, name));
    const opens = JSON.stringify({ src: [a], dst: [b], ip: ['*'] });
    const theirs = `// ours alone\n{ "tagOwners": { "tag:ops": [], "${a}": [], "${b}": [] }, "grants": [${opens}] }`;
    const router = await urlOf('sh-b', 'gateway-sh-b');
    expect(await fromRouter(router)).toBe('');
    await edit(() => theirs);
    const isOpen = async (): Promise<boolean> => {
      if (!(await control.policy()).text.includes(opens)) await edit(() => theirs); // it may be gone before anybody has asked
      return (await fromRouter(router)) === 'private network of sh-b';
    };
    // Seen by packets: without our entries books are refused, with them back they are served; and what opens the other's router, until it is gone.
    const refused = NAMES.map((name) => eventually(`${name} is refused`, async () => (await get(name)).body === ''));
    await Promise.all([eventually('the other’s router is reached', isOpen), ...refused]);
    // By the next resync but one, 60 s apart, where somebody looked at the policy shortly before the edit.
    await eventually('that rule is gone', async () => !(await control.policy()).text.includes(opens), { timeoutMs: 150_000 });
    await eventually('the other’s router is not reached any more', async () => (await fromRouter(router)) === '');
    await Promise.all(NAMES.map((name) => stage.reaches(of(books, name), of(routers, name))));
    expect((await control.policy()).text).toContain('// ours alone');
  }, 240_000);
});

describe('the machines themselves, by their addresses in the tailnet', () => {
  const PAGES = { router: 'private network of sh-a', book: 'book book', second: 'book second' };
  const fromBook = async (url: string): Promise<string> => (await requestFromBook(of(books, 'sh-a'), { url, timeoutMs: 2_000 })).body;

  test('the own are reached as soon as the access policy is `standard`, and not before; another customer’s never', async () => {
    const own = { router: await urlOf('sh-a', 'gateway-sh-a'), book: await urlOf('sh-a', 'book'), second: await urlOf('sh-a', 'second') };
    const others = [await urlOf('sh-b', 'gateway-sh-b'), await urlOf('sh-b', 'book')] as const;
    // Somebody listens there: each asks itself.
    expect((await requestFromCustomer('sh-b', { url: others[0] })).body).toBe('private network of sh-b');
    expect((await requestFromBook(of(books, 'sh-b'), { url: others[1] })).body).toBe('book book');
    for (const url of [own.router, own.second, ...others]) expect([url, await fromBook(url)]).toEqual([url, '']);
    for (const url of [own.book, ...others]) expect([url, await fromRouter(url)]).toEqual([url, '']);

    await platform.taken('PATCH', '/tailnets/sh-a', { config: { access_policy: 'standard' }, update_mask: 'config.access_policy' });
    await eventually('the book reaches its router', async () => (await fromBook(own.router)) === PAGES.router, { timeoutMs: 60_000 });
    await eventually('the book reaches the other own one', async () => (await fromBook(own.second)) === PAGES.second);
    await eventually('the router reaches its book', async () => (await fromRouter(own.book)) === PAGES.book);
    for (let turn = 0; turn < 2; turn += 1) {
      for (const url of others) expect([url, await fromBook(url), await fromRouter(url)]).toEqual([url, '', '']);
    }
  });
});

describe('deleting one of them', () => {
  test('takes its devices, routers and keys, and its entries; the other’s book goes on, and the tailnet stays', async () => {
    expect((await platform.call('DELETE', '/tailnets/sh-a?cascade=true')).status).toBe(202);
    await platform.tailnetReaches('sh-a', 'gone', 120_000);
    expect((await control.devices()).map(({ hostname }) => hostname).toSorted()).toEqual(['book', 'gateway-sh-b', 'gateway-sh-ops']);
    const isOfA = (tags: readonly string[] | null | undefined): boolean => /-sh-a-/.test((tags ?? []).join());
    expect((await control.keys()).filter(({ capabilities }) => isOfA(capabilities.devices.create.tags))).toEqual([]);
    expect((await control.policy()).text).not.toContain('-sh-a-');
    expect((await get('sh-b')).body).toBe('private network of sh-b');
    expect((await platform.must('GET', '/leftovers')).leftovers).toEqual([]);
  });
});
