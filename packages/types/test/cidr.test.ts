import { BlockList, isIP, SocketAddress } from 'node:net';
import { describe, expect, it } from 'vitest';
import {
  type Cidr,
  cidrContains,
  cidrsOverlap,
  formatAddress,
  formatCidr,
  hasHostBits,
  hostCidr,
  type IpAddress,
  isIpv4Mapped,
  networkOf,
  parseAddress,
  parseCidr,
} from '../src/index.ts';
import { seeded } from './random.ts';

const RUNS = 3_000;
const must = <T>(value: T | undefined): T => {
  if (value === undefined) expect.unreachable('expected a value');
  return value as T;
};
const cidr = (text: string): Cidr => must(parseCidr(text));

/** Addresses with many zero groups, so that compression is met often; ranges that are often near each other. */
function anyAddress(random: ReturnType<typeof seeded>): IpAddress {
  const family = random.below(2) === 0 ? 4 : 6;
  const length = family === 4 ? 4 : 16;
  const bytes = Array.from({ length }, () => [0, 0, 1, 128, 255, random.below(256)][random.below(6)] ?? 0);
  return { family, bytes };
}
const anyCidr = (random: ReturnType<typeof seeded>): Cidr => {
  const address = anyAddress(random);
  return { ...address, prefixLength: random.below(address.bytes.length * 8 + 1) };
};

describe('parse and format', () => {
  it.each([
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['255.255.255.255/32', '255.255.255.255/32'],
    ['::/0', '::/0'],
    ['::1/128', '::1/128'],
    ['FD00:0:0:1::/64', 'fd00:0:0:1::/64'],
    ['2001:db8:0:0:1:0:0:1/128', '2001:db8::1:0:0:1/128'],
    ['2001:db8:0:1:1:1:1:1/128', '2001:db8:0:1:1:1:1:1/128'],
    ['1:0:0:0:0:0:0:0/16', '1::/16'],
    ['64:ff9b::192.0.2.33/128', '64:ff9b::c000:221/128'],
    ['::ffff:10.0.0.0/104', '::ffff:a00:0/104'],
  ])('%s is %s', (text, canonical) => {
    expect(formatCidr(cidr(text))).toBe(canonical);
  });

  it.each([
    ...['', '/', '10.0.0.0', '10.0.0.0/', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/08', '10.0.0.0/8 ', ' 10.0.0.0/8', '10.0.0.0/8/8'],
    ...['10.0.0/8', '10.0.0.0.0/8', '10.0.0.256/8', '010.0.0.0/8', '0x0a.0.0.0/8', '10.0.0.-1/8', '10,0,0,0/8', '١٠.0.0.0/8'],
    ...['::/129', ':::/0', '1::2::3/64', ':1::/64', '1:/64', '1:2:3:4:5:6:7/64', '1:2:3:4:5:6:7:8:9/64', '1:2:3:4:5:6:7:8::/64', '12345::/64'],
    ...['g::/64', 'fe80::1%eth0/64', '[::]/0', '::1.2.3/128', '1.2.3.4::/64', '::1.2.3.4:5/128', `${'1'.repeat(10_000)}/8`],
  ])('%j is no range', (text) => {
    expect(parseCidr(text)).toBeUndefined();
  });

  it('an address reads back from its text, and the text is what the platform writes', () => {
    const random = seeded(1);
    for (let run = 0; run < RUNS; run++) {
      const address = anyAddress(random);
      const text = formatAddress(address);
      expect(parseAddress(text)).toEqual(address);
      if (!isIpv4Mapped(address)) expect(new SocketAddress({ address: text, family: address.family === 4 ? 'ipv4' : 'ipv6' }).address).toBe(text);
    }
  });

  it('takes exactly the texts that the platform takes', () => {
    const random = seeded(2);
    const letters = '0123456789abcdf:::...';
    for (let run = 0; run < RUNS; run++) {
      const original = formatAddress(anyAddress(random));
      const place = random.below(original.length + 1);
      const text = original.slice(0, place) + letters.charAt(random.below(letters.length)) + original.slice(place + random.below(2));
      expect([text, parseAddress(text) !== undefined]).toEqual([text, isIP(text) !== 0]);
    }
  });
});

describe('ranges', () => {
  it('clearing host bits is idempotent and keeps the range', () => {
    const random = seeded(3);
    for (let run = 0; run < RUNS; run++) {
      const range = anyCidr(random);
      const network = networkOf(range);
      expect(hasHostBits(network)).toBe(false);
      expect(networkOf(network)).toEqual(network);
      expect(cidrContains(network, range)).toBe(true);
      expect(hasHostBits(range)).toBe(formatCidr(range) !== formatCidr(network));
    }
  });

  it('contains the addresses that the platform says it contains', () => {
    const random = seeded(4);
    for (let run = 0; run < RUNS; run++) {
      const range = anyCidr(random);
      const address = anyAddress(random);
      if (address.family !== range.family) {
        expect(cidrContains(range, address)).toBe(false); // the platform would match IPv4 with its form in IPv6
        continue;
      }
      if (isIpv4Mapped(address)) continue;
      const list = new BlockList();
      list.addSubnet(formatAddress(range), range.prefixLength, range.family === 4 ? 'ipv4' : 'ipv6');
      const expected = list.check(formatAddress(address), address.family === 4 ? 'ipv4' : 'ipv6');
      expect([formatCidr(range), formatAddress(address), cidrContains(range, address)]).toEqual([
        formatCidr(range),
        formatAddress(address),
        expected,
      ]);
    }
  });

  it('overlap is symmetric, and means that one contains the other', () => {
    const random = seeded(5);
    for (let run = 0; run < RUNS; run++) {
      const a = anyCidr(random);
      const b = random.below(2) === 0 ? anyCidr(random) : { ...a, prefixLength: random.below(a.bytes.length * 8 + 1) };
      expect(cidrsOverlap(a, b)).toBe(cidrsOverlap(b, a));
      expect(cidrsOverlap(a, b)).toBe(cidrContains(a, b) || cidrContains(b, a));
      expect(cidrsOverlap(a, hostCidr(a))).toBe(true);
    }
  });

  it.each([
    ['10.0.0.0/8', '10.255.0.0/16', true],
    ['10.0.0.0/8', '11.0.0.0/8', false],
    ['10.1.0.0/16', '10.0.0.0/8', true],
    ['0.0.0.0/0', '::/0', false],
    ['fd00::/8', 'fd7a:115c:a1e0::/48', true],
  ])('%s and %s: %s', (a, b, expected) => {
    expect(cidrsOverlap(cidr(a), cidr(b))).toBe(expected);
  });

  it('knows IPv4 in disguise', () => {
    expect(isIpv4Mapped(cidr('::ffff:10.0.0.0/104'))).toBe(true);
    expect(isIpv4Mapped(cidr('::/0'))).toBe(false);
    expect(isIpv4Mapped(cidr('10.0.0.0/8'))).toBe(false);
  });
});
