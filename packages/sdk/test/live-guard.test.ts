import { spawnSync } from 'node:child_process';
import { type GuardOrder, guardOrderText } from '@bifrost/types/core';
import { describe, expect, it } from 'vitest';
import { type GuardInput, LIVE_PREFERENCES } from '../src/domain/guard.ts';
import { guardProbe } from '../src/domain/live-guard.ts';
import { GuardInNamespace, RENDERED } from './support/guard-namespace.ts';
import { Connection, customerBehind } from './support/held-connections.ts';
import { hasNamespaces, Namespace, SHELLS, until, WatchedRules } from './support/namespace.ts';

const input: GuardInput = {
  allowedNetworks: ['10.0.0.0/8', 'fd00:1::/64'],
  blockedNetworks: ['169.254.0.0/16'],
  accessPolicy: 'restrictive',
  ranges: { pods: ['10.244.0.0/24'], services: ['10.96.0.0/16'], nodes: ['10.250.0.1/32'] },
  servedPorts: [{ protocol: 'tcp', port: 8080 }],
  directAddresses: [],
};
const order: GuardOrder = { ...input, hash: 'bbbbbbbbbbbbbbbb', accessPolicy: 'restrictive' };
const QUARANTINE: GuardOrder = { hash: 'cccccccccccccccc', allowedNetworks: [], blockedNetworks: [], accessPolicy: 'quarantine' };

const hosts = (net: number, length = 1000): readonly string[] => Array.from({ length }, (_, index) => `10.${net}.${index >> 8}.${index & 255}/32`);
const indexesOf = (lines: readonly string[], wanted: string): readonly number[] => lines.flatMap((line, index) => (line === wanted ? [index] : []));
const at = (rules: readonly string[], from: number, to: number): readonly string[] =>
  rules.filter((rule) => {
    const preference = Number(/^-[46] (\d+):/.exec(rule)?.[1]);
    return preference >= from && preference <= to;
  });
/** What an order may change, and what it may not. */
const live = (guard: GuardInNamespace): readonly string[] => at(guard.namespace.rules(), 5100, 5130);
const fixed = (guard: GuardInNamespace): readonly string[] => at(guard.namespace.rules(), 5000, 5099);

describe.skipIf(!hasNamespaces).each(SHELLS.map((shell) => [shell.join(' '), shell] as const))('the live guard, in %s', (_, shell) => {
  const open = (change: Partial<GuardInput> = {}) => GuardInNamespace.open(shell, { ...input, ...change });

  it.concurrent.each<[string, Partial<GuardOrder>]>([
    ['other networks', { allowedNetworks: ['10.1.0.0/16', '192.168.7.0/24'], blockedNetworks: ['10.1.2.0/24', 'fd00:1::7/128', '10.1.0.9/32'] }],
    ['nothing allowed, nothing blocked', { allowedNetworks: [], blockedNetworks: [] }],
    ['another policy', { accessPolicy: 'permissive' }],
    ['networks of the tailnet itself', { allowedNetworks: ['100.64.0.0/10', 'fd7a:115c:a1e0::/48'], blockedNetworks: ['100.64.0.0/10'] }],
    ['hundreds of each', { allowedNetworks: hosts(1, 200), blockedNetworks: hosts(2, 200) }],
  ])('an order of %s leads to the rules that its own fragment has', async (_name, change) => {
    const wanted = { ...order, ...change };
    await using ordered = await open();
    const before = fixed(ordered);
    await ordered.order(wanted);
    await using rendered = await open({ ...change, accessPolicy: wanted.accessPolicy === 'permissive' ? 'permissive' : 'restrictive' });
    expect(live(ordered)).toEqual(live(rendered));
    expect(fixed(ordered)).toEqual(before);
    expect(before).toEqual(fixed(rendered));
  });

  it.concurrent('an order as long as it may be is held', async () => {
    await using guard = await open();
    await guard.order({ ...order, allowedNetworks: hosts(1), blockedNetworks: hosts(2) });
    expect(live(guard).filter((rule) => rule.startsWith('-4'))).toHaveLength(3 * 1000 + 3);
  });

  it.concurrent('quarantine lets nothing out but what the fragment lets through for the cluster, and ends by the next order', async () => {
    await using guard = await open();
    const before = guard.namespace.rules();
    await guard.order(QUARANTINE);
    expect(live(guard)).toEqual(['-4 5105: from all prohibit', '-6 5105: from all prohibit']);
    expect(fixed(guard)).toEqual(at(before, 5000, 5099));
    await guard.order(order);
    expect(guard.namespace.rules()).toEqual(before);
  });

  it.concurrent('a change closes before it opens, and takes nothing away before all that is new is there', async () => {
    await using guard = await open();
    using watched = await WatchedRules.open(guard.namespace);
    await guard.order({
      ...order,
      allowedNetworks: ['10.0.0.0/8', '172.16.0.0/12'],
      blockedNetworks: ['10.1.0.0/16', 'fd00:1::7/128'],
      accessPolicy: 'permissive',
    });
    await until(() => expect(watched.lines.length).toBeGreaterThanOrEqual(9));
    expect(watched.lines).toEqual([
      '5100: from all to 10.1.0.0/16 prohibit',
      '5120: from all to 172.16.0.0/12 prohibit',
      '5110: from all to 172.16.0.0/12 lookup 52',
      '5100: from all to fd00:1::7 prohibit',
      'Deleted 5130: from all lookup main',
      'Deleted 5100: from all to 169.254.0.0/16 prohibit',
      'Deleted 5110: from all to fd00:1::/64 lookup 52',
      'Deleted 5120: from all to fd00:1::/64 prohibit',
      'Deleted 5130: from all lookup main',
    ]);
  });

  it.concurrent('quarantine is there before anything goes, and goes when everything is there', async () => {
    await using guard = await open();
    using watched = await WatchedRules.open(guard.namespace);
    await guard.order(QUARANTINE);
    await guard.order(order);
    const places = await until(() => {
      const found = ['5105: from all prohibit', 'Deleted 5105: from all prohibit'].map((line) => indexesOf(watched.lines, line));
      expect(found.map(({ length }) => length)).toEqual([2, 2]);
      return found;
    });
    expect(places[0]).toEqual([0, 1]);
    const deleted = places[1]?.[0] ?? 0;
    expect(watched.lines.slice(deleted).filter((line) => !line.startsWith('Deleted'))).toEqual([]);
  });

  it.concurrent('a container that starts again touches no rule, and goes on with what it held last', async () => {
    await using guard = await open();
    const rendered = guard.namespace.rules();
    using watched = await WatchedRules.open(guard.namespace);
    await guard.end('SIGKILL');
    guard.start();
    await guard.looked();
    expect([watched.lines, guard.holds]).toEqual([[], RENDERED]);
    await guard.order({ ...order, blockedNetworks: ['10.1.0.10/32'] });
    const ordered = guard.namespace.rules();
    expect(ordered).not.toEqual(rendered);
    guard.put('what the agent wrote last is no order\n');
    await until(() => expect(watched.lines).toHaveLength(2));
    await guard.end('SIGKILL');
    guard.start();
    await guard.looked();
    expect(guard.namespace.rules()).toEqual(ordered);
    expect([watched.lines.length, guard.holds]).toEqual([2, order.hash]);
  });

  it.concurrent('a pod whose network was made anew gets all rules, and what was ordered, before anything may start', async () => {
    await using guard = await open();
    await guard.order({ ...order, blockedNetworks: ['10.1.0.10/32'] });
    const ordered = guard.namespace.rules();
    await guard.end();
    guard.namespace.run('for family in -4 -6; do ip $family rule flush; ip $family rule add preference 32766 lookup main; done');
    using watched = await WatchedRules.open(guard.namespace);
    guard.start();
    await until(() => expect(guard.hasOpened).toBe(true));
    expect(guard.namespace.rules().filter((line) => / 5\d{3}:/.test(line))).toEqual(ordered.filter((line) => / 5\d{3}:/.test(line)));
    await until(() => expect(watched.lines.at(-1)).toBe('5000: from all fwmark 0x80000/0xff0000 lookup main'));
  });

  it.concurrent('one that was ended in the middle of its first rules begins again', async () => {
    await using guard = await open();
    const whole = guard.namespace.rules();
    await guard.end('SIGKILL');
    guard.namespace.run(
      'ip -4 rule del preference 5000; ip -6 rule del preference 5110 to fd00:1::/64; ip rule add preference 5120 to 10.9.9.9 prohibit',
    );
    guard.forget();
    guard.start();
    await until(() => expect(guard.hasOpened).toBe(true));
    expect(guard.namespace.rules()).toEqual(whole);
  });

  it.concurrent('its probe passes when all rules stand, and not before', async () => {
    await using namespace = await Namespace.open();
    const { command } = guardProbe(LIVE_PREFERENCES)['exec'] as { readonly command: readonly string[] };
    const probe = (within: Namespace): number | null => {
      const [program = '', ...rest] = within.enter([...shell, ...command.slice(1)]);
      return spawnSync(program, rest).status;
    };
    expect(probe(namespace)).toBe(1);
    await using guard = await open();
    expect(probe(guard.namespace)).toBe(0);
  });

  it.concurrent('ends at once when it is told to, and leaves its rules', async () => {
    await using guard = await open();
    const before = guard.namespace.rules();
    expect(await guard.end()).toBe(0);
    expect(guard.namespace.rules()).toEqual(before);
  });

  it.concurrent('a connection that stands is stopped by a blocked network and goes on when it is allowed again; its twin goes on', async () => {
    const twice = (text: string): readonly [string, string] => [`${text} one`, `${text} two`];
    await using guard = await open();
    await using _customer = await customerBehind(guard.namespace, ['10.1.0.10', '10.1.0.11', 'fd00:1::10']);
    const connect = (to: string) => Connection.open(guard.namespace, { to, source: to.includes(':') ? 'fd01::7' : '10.244.0.7' });
    await using held = await connect('10.1.0.10');
    await using six = await connect('fd00:1::10');
    await using twin = await connect('10.1.0.11');
    const all = [held, six, twin];
    const exchange = async (over: readonly Connection[], lines: readonly string[]): Promise<void> => {
      for (const connection of over) for (const line of lines) connection.say(line);
      for (const connection of over) for (const line of lines) await connection.hears(line);
    };
    await exchange(all, twice('before'));
    await guard.order({ ...order, blockedNetworks: ['10.1.0.10/32', 'fd00:1::10/128'] });
    for (const connection of [held, six]) connection.say('while it is blocked');
    await exchange([twin], twice('meanwhile'));
    await using refused = await connect('10.1.0.10');
    expect(refused.heard).toBe('EACCES');
    for (const connection of [held, six]) expect(connection.heard).not.toContain('blocked');
    await guard.order({ ...order, hash: 'eeeeeeeeeeeeeeee' });
    for (const connection of [held, six]) await connection.hears('while it is blocked');
    await exchange(all, twice('after'));
  });

  describe('a file that is not an order changes nothing', () => {
    const good = guardOrderText({ ...order, hash: 'dddddddddddddddd', blockedNetworks: ['10.1.0.10/32'] });
    const [head = '', ...body] = good.trimEnd().split('\n');
    const file = (...lines: readonly string[]): string => `bifrost-guard 1 dddddddddddddddd ${lines.length}\n${lines.join('\n')}\n`;
    const inserted = (line: string): string => file(...body, line);

    it.concurrent.each<[string, string | Buffer]>([
      ['empty', ''],
      ['a head alone', `${head}\n`],
      ['without its last line', `${[head, ...body].slice(0, -1).join('\n')}\n`],
      ['without its last line break', good.trimEnd()],
      ['with a line more than its head says', `${good}allow 10.9.0.0/16\n`],
      ['with another version', good.replace('guard 1', 'guard 2')],
      ['with a hash that is none', good.replace('dddddddddddddddd', '$(touch /tmp/x)')],
      ['without a policy', file('allow 10.0.0.0/8')],
      ['with two policies', file('policy permissive', 'policy restrictive')],
      ['with a policy that nobody knows', file('policy open')],
      ['with a policy that is not the first', file('allow 10.0.0.0/8', 'policy permissive')],
      ['with a second head', inserted(`bifrost-guard 1 dddddddddddddddd 1`)],
      ['that would run a command', inserted('allow $(ip rule flush)/8')],
      ['with a command after a network', inserted('allow 10.0.0.0/8; ip rule flush')],
      ['with another preference after a network', inserted('allow 10.96.0.0/16 preference 1')],
      ['with another preference behind a NUL', inserted('allow 10.96.0.0/16\0 preference 1')],
      ['with a network that names everything', inserted('allow 0.0.0.0/0')],
      ['with a network that names everything, in IPv6', inserted('block ::/0')],
      ['with a netmask', inserted('allow 10.0.0.0/255.0.0.0')],
      ['with an address alone', inserted('allow 10.0.0.1')],
      ['with a name', inserted('allow default')],
      ['with digits of elsewhere', inserted('allow 1\uff10.0.0.0/8')],
      ['with a number that is no byte', inserted('allow 10.0.0.256/32')],
      ['with an address that the kernel refuses', file('policy permissive', 'allow 10.0.0.0/8', 'allow fd00::1::2/64', 'block 10.2.0.0/16')],
      ['with one network twice', file('policy permissive', 'block 10.2.0.0/16', 'block 10.2.0.0/16')],
      ['with spaces around', inserted(' allow 10.0.0.0/8')],
      ['with carriage returns', good.replaceAll('\n', '\r\n')],
      ['of random bytes', Buffer.from(Array.from({ length: 4096 }, (_value, index) => (index * 7919) % 256))],
      ['of too many lines', file('policy permissive', ...[1, 2, 3].flatMap((net) => hosts(net).map((network) => `allow ${network}`)))],
      ['far too large', `${good}${'#'.repeat(900_000)}`],
    ])('%s', async (_name, content) => {
      await using guard = await open();
      const before = guard.namespace.rules();
      guard.put(content);
      await guard.looked();
      expect(guard.namespace.rules()).toEqual(before);
      expect(guard.holds).toBe(RENDERED);
      expect(guard.said).not.toContain('10.');
      await guard.order({ ...order, blockedNetworks: ['10.3.0.0/16'] }); // it still listens
      expect(live(guard)).toContain('-4 5100: from all to 10.3.0.0/16 prohibit');
    });
  });
});
