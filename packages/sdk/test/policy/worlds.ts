// Small tailnets with several customers, and what their intents say of a packet: by counting, not by the compiler's arithmetic.
import { createHash } from 'node:crypto';
import type { AccessPolicy, NetworkConfiguration } from '@bifrost/types/core';
import fc from 'fast-check';
import type { PolicyMember } from '../../src/domain/policy/compile-policy.ts';
import { bookTagOf, customerTagsOf } from '../../src/domain/policy/identity-tags.ts';
import type { JudgedDevice } from '../../src/domain/policy/judge-policy.ts';

/** Tags of our devices. */
export const isOurs = (tag: string): boolean => tag.startsWith('tag:bifrost-');

export const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Networks of a few bits, so that they meet: 10.0.0.0/28 to /32, and the same of IPv6. */
const network4 = fc.tuple(fc.nat(15), fc.integer({ min: 28, max: 32 })).map(([at, bits]) => `10.0.0.${at - (at % 2 ** (32 - bits))}/${bits}`);
const network6 = fc
  .tuple(fc.nat(15), fc.integer({ min: 124, max: 128 }))
  .map(([at, bits]) => `fd00::${(at - (at % 2 ** (128 - bits))).toString(16)}/${bits}`);
const network = fc.oneof({ weight: 3, arbitrary: network4 }, network6).map((text) => text.replace('::0/', '::/'));

export const configuration: fc.Arbitrary<NetworkConfiguration> = fc.record({
  allowedNetworks: fc.array(network, { maxLength: 4 }),
  blockedNetworks: fc.array(fc.oneof({ weight: 6, arbitrary: network }, fc.constantFrom('100.64.0.0/10', '169.254.0.0/16')), { maxLength: 3 }),
  accessPolicy: fc.constantFrom<AccessPolicy>('restrictive', 'standard', 'permissive'),
  enableLogging: fc.boolean(),
});

export interface Customer {
  readonly id: string;
  readonly member: PolicyMember;
  readonly book: JudgedDevice;
  readonly router: JudgedDevice;
}

/** Behind books, not routers: two customers' books offer the same, as anybody's at home would. */
export const OFFERED = '192.168.77.0/24';

/** The books of the first two let their routers have a shell, and offer a route; that of a third does neither. */
export function customerOf(id: string, config: NetworkConfiguration, index: number): Customer {
  const place = { customerId: id, tailnetName: id };
  const tags = customerTagsOf(place, digest);
  const bookTag = bookTagOf(place, 'shop', digest);
  const routes = index < 2 ? [OFFERED] : [];
  return {
    id,
    member: {
      ...{ sourceTags: [tags.customer], routerTag: tags.router, config },
      books: [{ tag: bookTag, enableSsh: index < 2, advertiseRoutes: routes }],
    },
    book: { tags: ['tag:bifrost-book', tags.customer, bookTag], addresses: [`100.64.${index}.1`, `fd7a:115c:a1e0::${index}:1`], routes },
    router: { tags: [tags.router], addresses: [`100.64.${index}.2`, `fd7a:115c:a1e0::${index}:2`], routes: config.allowedNetworks },
  };
}

export const world: fc.Arbitrary<readonly Customer[]> = fc
  .array(configuration, { minLength: 1, maxLength: 3 })
  .map((configs) => configs.map((config, index) => customerOf(`customer-${index}`, config, index)));

/** Every address that the small networks hold, some beside them, and those that policies like to forget. */
export const ADDRESSES: readonly string[] = [
  ...Array.from({ length: 17 }, (_, at) => `10.0.0.${at}`),
  ...Array.from({ length: 17 }, (_, at) => (at === 0 ? 'fd00::' : `fd00::${at.toString(16)}`)),
  ...['169.254.169.254', '192.168.77.5', '203.0.113.9', '2001:db8::1'],
];

/** An address as one number, with its family. */
function numberOf(text: string): readonly [family: number, value: bigint] {
  if (!text.includes(':')) return [4, text.split('.').reduce((value, part) => value * 256n + BigInt(part), 0n)];
  const [head = '', tail] = text.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [left, right] = [groups(head), groups(tail ?? '')];
  const all = tail === undefined ? left : [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
  return [6, all.reduce((value, group) => value * 65536n + BigInt(`0x${group}`), 0n)];
}

export function isIn(address: string, range: string): boolean {
  const [base = '', bits = '0'] = range.split('/');
  const [[family, value], [of, start]] = [numberOf(address), numberOf(base)];
  const size = 2n ** BigInt((of === 4 ? 32 : 128) - Number(bits));
  return family === of && value / size === start / size;
}

/** What an intent says of an address behind the customer's router. */
export function isWanted({ allowedNetworks, blockedNetworks, accessPolicy }: NetworkConfiguration, address: string): boolean {
  if (blockedNetworks.some((range) => isIn(address, range))) return false;
  return accessPolicy === 'permissive' || allowedNetworks.some((range) => isIn(address, range));
}
