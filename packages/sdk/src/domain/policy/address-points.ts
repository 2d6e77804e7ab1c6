import { type Cidr, type IpAddress, networkOf, parseCidr } from '@bifrost/types/core';

/** An address as a number of its family, or the end of all of them. */
interface Point {
  readonly family: 4 | 6;
  readonly value: bigint;
}

const BITS = { 4: 32, 6: 128 } as const;
const FAMILIES = [4, 6] as const;

const numberOf = ({ bytes }: IpAddress): bigint => bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);

function addressOf({ family, value }: Point): IpAddress {
  const length = BITS[family] / 8;
  return { family, bytes: Array.from({ length }, (_, index) => Number((value >> BigInt((length - 1 - index) * 8)) & 0xffn)) };
}

const sizeOf = ({ family, prefixLength }: Cidr): bigint => 1n << BigInt(BITS[family] - prefixLength);

/**
 * One address for each part of the address space in which no range begins or ends: whatever goes by these ranges treats all addresses of a part alike, so
 * what holds for these addresses holds for every address. In both families, sorted.
 */
export function addressPoints(ranges: Iterable<Cidr>): readonly IpAddress[] {
  const starts: Readonly<Record<4 | 6, Set<bigint>>> = { 4: new Set([0n]), 6: new Set([0n]) };
  for (const range of ranges) {
    const first = numberOf(networkOf(range));
    starts[range.family].add(first);
    const next = first + sizeOf(range);
    if (next < 1n << BigInt(BITS[range.family])) starts[range.family].add(next);
  }
  return FAMILIES.flatMap((family) => [...starts[family]].sort((a, b) => (a < b ? -1 : Number(a > b))).map((value) => addressOf({ family, value })));
}

/** Which of many ranges hold an address, in about the time that the answer takes. */
export class RangeTable<Value> {
  readonly #byLength: Readonly<Record<4 | 6, Map<number, Map<bigint, Value[]>>>> = { 4: new Map(), 6: new Map() };

  constructor(ranges: Iterable<readonly [range: Cidr, value: Value]>) {
    for (const [range, value] of ranges) {
      const lengths = this.#byLength[range.family];
      const starts = lengths.get(range.prefixLength) ?? new Map<bigint, Value[]>();
      lengths.set(range.prefixLength, starts);
      const key = this.#keyOf(numberOf(range), range.family, range.prefixLength);
      const values = starts.get(key);
      if (values === undefined) starts.set(key, [value]);
      else values.push(value);
    }
  }

  /** What the ranges stand for that hold it, in no order. */
  at(address: IpAddress): readonly Value[] {
    const number = numberOf(address);
    return [...this.#byLength[address.family]].flatMap(([length, starts]) => starts.get(this.#keyOf(number, address.family, length)) ?? []);
  }

  holds(address: IpAddress): boolean {
    const number = numberOf(address);
    for (const [length, starts] of this.#byLength[address.family]) if (starts.has(this.#keyOf(number, address.family, length))) return true;
    return false;
  }

  #keyOf(number: bigint, family: 4 | 6, length: number): bigint {
    return number >> BigInt(BITS[family] - length);
  }
}

/** Those that can be read. */
export const rangesOf = (texts: readonly string[]): readonly Cidr[] => texts.flatMap((text) => parseCidr(text) ?? []);

/** Whether an address lies in one of these ranges. */
export const tableOf = (texts: readonly string[]): RangeTable<true> => new RangeTable(rangesOf(texts).map((range) => [range, true] as const));
