import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type GuardOrder, guardOrderText } from '@bifrost/types/core';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { systemClock } from '../src/adapters/system/clock.ts';
import { guardFilesAt } from '../src/adapters/system/guard-files.ts';
import { GuardRelay } from '../src/guard-relay.ts';

const ORDER: GuardOrder = {
  hash: 'bbbbbbbbbbbbbbbb',
  allowedNetworks: ['10.0.0.0/8'],
  blockedNetworks: ['10.1.0.10/32'],
  accessPolicy: 'restrictive',
};
const OTHER: GuardOrder = { ...ORDER, hash: 'cccccccccccccccc', accessPolicy: 'quarantine' };

function relaying() {
  const folder = mkdtempSync(join(tmpdir(), 'bifrost-relay-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, 'out'));
  const logs: string[] = [];
  const logger = { log: (_: string, message: string, fields = {}) => void logs.push(`${message} ${JSON.stringify(fields)}`) };
  const files = guardFilesAt({ order: join(folder, 'out', 'order'), holds: join(folder, 'holds') });
  const onChange = vi.fn();
  const guardSays = (hash: string) => writeFileSync(join(folder, 'holds'), `${hash}\n`);
  guardSays('aaaaaaaaaaaaaaaa');
  const relay = new GuardRelay({ files, clock: systemClock, logger, onChange });
  const order = () => readFileSync(join(folder, 'out', 'order'), 'utf8');
  const run = () => {
    const stop = new AbortController();
    const running = relay.run({ signal: stop.signal }).catch(() => {});
    onTestFinished(() => {
      stop.abort();
      return running;
    });
  };
  return { folder, relay, logs, guardSays, order, onChange, run };
}

describe('GuardRelay', () => {
  it('hands an order over as one file that everybody may read, and says what was handed over until the guard holds it', () => {
    const { folder, relay, guardSays, order } = relaying();
    expect(relay.report).toEqual({ holds: 'aaaaaaaaaaaaaaaa' });
    relay.take(ORDER);
    expect(order()).toBe('bifrost-guard 1 bbbbbbbbbbbbbbbb 3\npolicy restrictive\nallow 10.0.0.0/8\nblock 10.1.0.10/32\n');
    expect(statSync(join(folder, 'out', 'order')).mode & 0o777).toBe(0o644);
    expect(readdirSync(join(folder, 'out'))).toEqual(['order']);
    expect(relay.report).toEqual({ holds: 'aaaaaaaaaaaaaaaa', received: ORDER.hash });
    guardSays(ORDER.hash);
    expect(relay.report).toEqual({ holds: ORDER.hash });
  });

  it('tells at once when the guard holds it', async () => {
    const { relay, guardSays, onChange, run } = relaying();
    run();
    relay.take(ORDER);
    expect(onChange).not.toHaveBeenCalled();
    guardSays(ORDER.hash);
    await vi.waitFor(() => expect(onChange).toHaveBeenCalledOnce());
    relay.take(OTHER);
    guardSays(OTHER.hash);
    await vi.waitFor(() => expect(onChange).toHaveBeenCalledTimes(2));
  });

  it('a guard that held it and holds something else now is told again', () => {
    const { relay, guardSays, order } = relaying();
    relay.take(ORDER);
    guardSays(ORDER.hash);
    expect(relay.report).toEqual({ holds: ORDER.hash });
    guardSays(OTHER.hash);
    expect(relay.report).toEqual({ holds: OTHER.hash });
    relay.take(OTHER);
    relay.take(ORDER);
    expect(order()).toBe(guardOrderText(ORDER));
  });

  it('goes back to what the guard holds when that is ordered again', () => {
    const { relay, order } = relaying();
    const first = { ...ORDER, hash: 'aaaaaaaaaaaaaaaa' };
    relay.take(OTHER);
    relay.take(first);
    expect(order()).toBe(guardOrderText(first));
    expect(relay.report).toEqual({ holds: first.hash });
  });

  it.each<[string, unknown]>([
    ['nothing', null],
    ['a text', 'policy permissive'],
    ['no hash', { ...ORDER, hash: undefined }],
    ['a hash with a line break', { ...ORDER, hash: `${ORDER.hash}\n` }],
    ['a policy that nobody knows', { ...ORDER, accessPolicy: 'open' }],
    ['no lists', { ...ORDER, allowedNetworks: undefined }],
    ['a network with a line break', { ...ORDER, allowedNetworks: ['10.0.0.0/8\nallow 10.96.0.0/16'] }],
    ['a network that is none', { ...ORDER, blockedNetworks: ['default'] }],
    ['a network with host bits', { ...ORDER, blockedNetworks: ['10.0.0.1/8'] }],
    ['everything', { ...ORDER, allowedNetworks: ['0.0.0.0/0'] }],
    ['IPv4 written as IPv6', { ...ORDER, allowedNetworks: ['::ffff:a00:0/104'] }],
    ['IPv6 written otherwise', { ...ORDER, allowedNetworks: ['fd00:0::/64'] }],
    ['too many networks', { ...ORDER, allowedNetworks: Array.from({ length: 1001 }, (_, index) => `10.0.${index >> 8}.${index & 255}/32`) }],
  ])('leaves %s alone, says so once and without it, and takes the next', (_, said) => {
    const { folder, relay, logs, order } = relaying();
    relay.take(said);
    relay.take(said);
    expect(readdirSync(join(folder, 'out'))).toEqual([]);
    expect(logs).toEqual(['the manager sent an order for the guard that is none {}']);
    expect(relay.report).toEqual({ holds: 'aaaaaaaaaaaaaaaa' });
    relay.take(ORDER);
    expect(order()).toBe(guardOrderText(ORDER));
  });

  it('one that cannot be written was not handed over: it may come again', () => {
    const { folder, relay, logs, order } = relaying();
    rmSync(join(folder, 'out'), { recursive: true });
    relay.take(ORDER);
    expect(logs).toEqual(['an order for the guard cannot be written {}']);
    expect(relay.report).toEqual({ holds: 'aaaaaaaaaaaaaaaa' });
    mkdirSync(join(folder, 'out'));
    relay.take(ORDER);
    expect(order()).toBe(guardOrderText(ORDER));
  });

  it('what a guard says that is no hash is left out', () => {
    const { folder, relay, guardSays } = relaying();
    guardSays('<script>');
    expect(relay.report).toEqual({});
    rmSync(join(folder, 'holds'));
    expect(relay.report).toEqual({});
  });
});
