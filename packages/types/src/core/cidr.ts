/** An address as its bytes in network order: 4 for IPv4, 16 for IPv6. */
export interface IpAddress {
  readonly family: 4 | 6;
  readonly bytes: readonly number[];
}

/** An address range. `bytes` may have bits set beyond `prefixLength`: {@link networkOf} clears them. */
export interface Cidr extends IpAddress {
  /** In bits: 0 to 32, or 0 to 128. */
  readonly prefixLength: number;
}

const DECIMAL = /^(?:0|[1-9][0-9]{0,2})$/;
const GROUP = /^[0-9a-f]{1,4}$/i;
const LONGEST = 49; // an IPv6 address with an IPv4 tail, a slash, three digits

/** Four decimal numbers without leading zeros: others read `010` as octal, so it is refused instead of guessed. */
function ipv4Bytes(text: string): number[] | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => DECIMAL.test(part))) return undefined;
  const bytes = parts.map(Number);
  return bytes.every((byte) => byte <= 255) ? bytes : undefined;
}

/** One side of `::` as bytes; only the last group of the whole address may be written as IPv4. */
function groupBytes(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return [];
  const groups = text.split(':');
  const bytes: number[] = [];
  for (const [index, group] of groups.entries()) {
    if (GROUP.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
      continue;
    }
    const tail = mayEndInIpv4 && index === groups.length - 1 ? ipv4Bytes(group) : undefined;
    if (!tail) return undefined;
    bytes.push(...tail);
  }
  return bytes;
}

function ipv6Bytes(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [left = '', right] = halves;
  const head = groupBytes(left, right === undefined);
  const tail = right === undefined ? [] : groupBytes(right, true);
  if (!head || !tail) return undefined;
  const missing = 16 - head.length - tail.length;
  if (right === undefined ? missing !== 0 : missing < 2) return undefined;
  return [...head, ...new Array<number>(missing).fill(0), ...tail];
}

/** Reads one IPv4 or IPv6 address. No zone, no brackets, no shorthand of IPv4. Undefined for anything else. */
export function parseAddress(text: string): IpAddress | undefined {
  if (text.length > LONGEST) return undefined;
  const bytes = text.includes(':') ? ipv6Bytes(text) : ipv4Bytes(text);
  return bytes && { family: bytes.length === 4 ? 4 : 6, bytes };
}

/** Reads `address/prefix`, with or without host bits set. Undefined for anything else. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  const prefix = text.slice(slash + 1);
  if (slash < 0 || !DECIMAL.test(prefix)) return undefined;
  const address = parseAddress(text.slice(0, slash));
  const prefixLength = Number(prefix);
  return address && prefixLength <= address.bytes.length * 8 ? { ...address, prefixLength } : undefined;
}

/** The mask of one byte: how many of the prefix's bits fall into it. */
const maskOf = (index: number, prefixLength: number): number => (0xff00 >> Math.min(8, Math.max(0, prefixLength - index * 8))) & 0xff;

const masked = (bytes: readonly number[], prefixLength: number): number[] => bytes.map((byte, index) => byte & maskOf(index, prefixLength));

/** The same range with all host bits zero. */
export const networkOf = (cidr: Cidr): Cidr => ({ ...cidr, bytes: masked(cidr.bytes, cidr.prefixLength) });

/** True when bits beyond the prefix are set, as in `10.1.2.3/8`. */
export const hasHostBits = (cidr: Cidr): boolean => cidr.bytes.some((byte, index) => (byte & maskOf(index, cidr.prefixLength)) !== byte);

/** The place and length of the longest run of zero groups; shorter than two groups it is not compressed (RFC 5952). */
function longestZeroRun(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (const [index, group] of groups.entries()) {
    if (group !== 0) start = index + 1;
    else if (index + 1 - start > best.length) best = { start, length: index + 1 - start };
  }
  return best;
}

/** The one canonical text: dotted decimal, or RFC 5952 without an IPv4 tail. */
export function formatAddress({ family, bytes }: IpAddress): string {
  if (family === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) => ((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0));
  const text = (from: number, to: number): string =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  const zeros = longestZeroRun(groups);
  return zeros.length < 2 ? text(0, 8) : `${text(0, zeros.start)}::${text(zeros.start + zeros.length, 8)}`;
}

/** Canonical text of a range, host bits as they are. */
export const formatCidr = (cidr: Cidr): string => `${formatAddress(cidr)}/${cidr.prefixLength}`;

/** The range of one address alone. */
export const hostCidr = (address: IpAddress): Cidr => ({ ...address, prefixLength: address.bytes.length * 8 });

/** True when every address of `inner` (an address or a range) lies in `outer`. The families never contain each other. */
export function cidrContains(outer: Cidr, inner: Cidr | IpAddress): boolean {
  const innerPrefix = 'prefixLength' in inner ? inner.prefixLength : inner.bytes.length * 8;
  if (outer.family !== inner.family || outer.prefixLength > innerPrefix) return false;
  return outer.bytes.every((byte, index) => ((byte ^ (inner.bytes[index] ?? 0)) & maskOf(index, outer.prefixLength)) === 0);
}

/** True when some address lies in both. Two ranges overlap only where one contains the other. */
export const cidrsOverlap = (a: Cidr, b: Cidr): boolean => (a.prefixLength <= b.prefixLength ? cidrContains(a, b) : cidrContains(b, a));

const MAPPED: Cidr = { family: 6, bytes: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0], prefixLength: 96 };

/** True for a range of `::ffff:0:0/96`: IPv4 in disguise, which routes and rules of IPv6 never match. */
export const isIpv4Mapped = (address: Cidr | IpAddress): boolean => cidrContains(MAPPED, address);
